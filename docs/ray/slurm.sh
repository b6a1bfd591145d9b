#!/bin/bash
# A study on several nodes of a SLURM cluster. Edit the lines marked below, then: sbatch slurm.sh
#SBATCH --job-name=minaction
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
set -euo pipefail

spec=$HOME/studies/study.toml                  # edit: the study file
out=$HOME/studies/out                          # edit: on a file system that outlives the job
# shellcheck source=/dev/null
source "$HOME/minaction/bin/activate"          # edit: where minaction[ray] is installed
export MINACTION_DATA=$HOME/data RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(ray get-auth-token --generate) # keeps others on the network out
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(getent ahostsv4 "$head" | awk 'NR == 1 { print $1 }'):6379
# On every node Ray is started, on the head the study too; all of it ends with the study. A job cut
# short is simply submitted again: finished runs are in the journal.
srun ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus "$SLURM_CPUS_PER_TASK" -- \
    minaction study run "$spec" --out "$out" --executor ray --ray-address "$address"
