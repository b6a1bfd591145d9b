"""One run of `results/transformer.py`: a small transformer trained with an energy, and its costs.

Models are made from a configuration and trained by Hugging Face's `Trainer` with `add_energy`. What
is chosen on the way, lambda and which units go, is chosen on the validation part; the test part is
read at the end.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from transformer_settings import Settings
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

import minaction as ma
from minaction.compaction.latency import measure_latency
from minaction.energy.functionals import Energy
from minaction.errors import MinActionError
from minaction.integrations.transformers import add_energy, with_linear_layers
from minaction.objective.budget import Budget
from minaction.train.steering import AccuracySteering, AccuracyTarget

ENERGIES: Mapping[str, Energy] = {
    "activation": ma.ActivationEnergy(),
    "l1": ma.L1Energy(),
    "unit": ma.UnitEnergy(),
}
IGNORED = -100
"""A label that counts in no loss."""
FEED_FORWARD = ("intermediate_act_fn", "mlp.act")
"""How the names of the modules end that feed-forward units come out of."""
WRITERS = ("intermediate.dense", "mlp.c_fc")
"""How the names of the linear layers end that compute them."""
BATCH = 256
"""Texts of a batch where nothing is trained."""
MEASURED = 512
"""Texts that energies, zeros and MACs are measured on, and units are judged by."""
NEGLIGIBLE = 0.01
"""Share of a layer's energy that the activations counted as near zero hold together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Texts of one part of a data set.

    Attributes:
        inputs: The model's arguments, `[texts, tokens]` each.
        labels: Classes `[texts]`, or next tokens `[texts, tokens]`: those of the inputs, which the
            model shifts, the first of each text left out.
    """

    inputs: dict[str, Tensor]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {**{k: v[index] for k, v in self.inputs.items()}, "labels": self.labels[index]}

    def first(self, count: int) -> dict[str, Tensor]:
        """Return the arguments of the first texts."""
        return {name: value[:count] for name, value in self.inputs.items()}


def run(
    settings: Settings, dataset: ma.Dataset, baseline: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Train a model, measure it, take its silent units out, and return all that was found.

    Args:
        settings: The run.
        dataset: Token ids with classes.
        baseline: What this returned for the baseline of a budget: the run at lambda 0, first seed.
    """
    transformers.logging.set_verbosity_error()
    torch.set_flush_denormal(True)
    parts = parts_of(dataset, settings)
    model = build(settings, dataset.spec.classes)
    started = time.perf_counter(), time.process_time()
    training = trained(model, parts, settings, baseline)
    spent = {
        "train_seconds": time.perf_counter() - started[0],
        "train_cpu_seconds": time.process_time() - started[1],
    }
    model.eval()
    ended = status(model, parts["validation"], training["history"][-1]["score"])
    found = {"status": ended, "parameters": model.num_parameters(), **spent, **finite(training)}
    if ended != "diverged":
        found |= measured(model, parts["test"], settings)
        found["quality"] = {name: quality(model, parts[name]) for name in ("validation", "test")}
        found["compaction"] = compaction(model, parts, settings)
    return found | {"cpu_seconds": time.process_time() - started[1]}


def parts_of(dataset: ma.Dataset, settings: Settings) -> dict[str, Part]:
    """Return the texts of each part: messages cut short, or one stream of words in blocks."""
    splits = dataset.splits()
    if settings.model == "bert":
        return {name: messages(split, settings.tokens) for name, split in splits.items()}
    numbers = word_numbers(dataset.train.x, settings.words)
    return {name: blocks(split.x, numbers, settings.tokens) for name, split in splits.items()}


def messages(split: ma.Split, tokens: int) -> Part:
    """Return the first tokens of each message, what is padding masked, and its class."""
    ids = split.x[:, :tokens].contiguous()
    return Part(inputs={"input_ids": ids, "attention_mask": (ids != 0).long()}, labels=split.y)


def word_numbers(ids: Tensor, words: int) -> Tensor:
    """Return a number from 1 for the most frequent ids, and -1 for the others, which are left out.

    Args:
        ids: Token ids of the training part; 0 is padding and 1 unknown.
        words: How many numbers there are, 0 for the end of a message among them.
    """
    counts = ids.flatten().bincount(minlength=words + 1)
    counts[:2] = 0
    frequent = counts.argsort(descending=True, stable=True)[: words - 1]
    numbers = torch.full_like(counts, -1)
    numbers[frequent] = torch.arange(1, words)
    return numbers


def blocks(ids: Tensor, numbers: Tensor, tokens: int) -> Part:
    """Return the messages one after the other, each with an end, in blocks of so many tokens."""
    ends = torch.zeros(len(ids), 1, dtype=torch.long)
    stream = torch.cat([numbers[ids], ends], dim=1).flatten()
    stream = stream[stream >= 0]
    inputs = stream[: len(stream) // tokens * tokens].view(-1, tokens)
    labels = inputs.clone()
    labels[:, 0] = IGNORED  # predicted by nothing
    return Part(inputs={"input_ids": inputs}, labels=labels)


def build(settings: Settings, classes: int) -> Any:
    """Return a model with fresh weights, in training mode."""
    torch.manual_seed(settings.seed)
    if settings.model == "bert":
        return BertForSequenceClassification(
            BertConfig(
                vocab_size=settings.words,
                hidden_size=settings.width,
                num_hidden_layers=settings.layers,
                num_attention_heads=settings.heads,
                intermediate_size=settings.units,
                hidden_act=settings.activation,
                max_position_embeddings=settings.tokens,
                attention_probs_dropout_prob=0.0,
                num_labels=classes,
            )
        ).train()
    config = GPT2Config(
        vocab_size=settings.words,
        n_embd=settings.width,
        n_layer=settings.layers,
        n_head=settings.heads,
        n_inner=settings.units,
        activation_function=settings.activation,
        n_positions=settings.tokens,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        use_cache=False,
    )
    return with_linear_layers(GPT2LMHeadModel(config)).train()


def feed_forward(model: nn.Module) -> list[str]:
    """Return the names of the modules whose outputs are the feed-forward units."""
    return [name for name, _ in model.named_modules() if name.endswith(FEED_FORWARD)]


def trained(
    model: Any, parts: Mapping[str, Part], settings: Settings, baseline: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Train a model and return its validations, and lambda where a budget found it."""
    steering = None if baseline is None else steered(settings, baseline["history"])
    looks = _Looks(steering)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                folder,
                seed=settings.seed,
                max_steps=settings.steps,
                per_device_train_batch_size=settings.batch,
                per_device_eval_batch_size=BATCH,
                learning_rate=settings.lr,
                warmup_steps=settings.steps // 20,
                weight_decay=settings.weight_decay,
                eval_strategy="steps",
                eval_steps=settings.validate_every,
                logging_steps=settings.validate_every,
                prediction_loss_only=settings.model == "gpt2",
                save_strategy="no",
                report_to="none",
                use_cpu=True,
                disable_tqdm=True,
                dataloader_pin_memory=False,
            ),
            train_dataset=parts["train"],  # pyright: ignore[reportArgumentType]
            eval_dataset=parts["validation"],  # pyright: ignore[reportArgumentType]
            compute_metrics=accuracy_of if settings.model == "bert" else None,
            callbacks=[looks],
        )
        trainer.remove_callback(PrinterCallback)
        add_energy(
            trainer,
            ENERGIES[settings.energy],
            lam=0.0 if steering is None else steering.budget,
            layers=feed_forward(model),
        )
        trainer.train()
    logged = [entry for entry in trainer.state.log_history if "minaction/energy" in entry]
    return {
        "history": looks.history,
        "train_loss": logged[-1]["minaction/task"],
        "train_energy": logged[-1]["minaction/energy"],
        "lam_found": None if steering is None else steering.multiplier,
    }


def steered(settings: Settings, history: list[dict[str, float]]) -> AccuracySteering:
    """Return what finds lambda: as much energy less as the margin on the validation part allows.

    Lambda is 0 for a fifth of the steps: what falls silent before it has learned stays silent.
    """
    target = AccuracyTarget(
        steps=[int(look["step"]) for look in history],
        accuracies=[look["score"] for look in history],
        margin=settings.margin,
        aim=settings.aim,
    )
    warmup = settings.steps // 5
    looks = (settings.steps - warmup) // settings.validate_every
    lowest, initial, highest = settings.lam_range
    budget = Budget(
        gain=math.log(highest / lowest) / looks,
        initial=initial,
        floor=lowest,
        ceiling=highest,
        warmup=warmup,
    )
    return AccuracySteering(
        target, steps=settings.steps, every=settings.validate_every, budget=budget
    )


class _Looks(TrainerCallback):
    """Notes what each validation found and lets it steer lambda."""

    def __init__(self, steering: AccuracySteering | None) -> None:
        self._steering = steering
        self.history: list[dict[str, float]] = []

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any
    ) -> None:
        """Take in a validation, of which more is better: accuracy, or minus the loss."""
        score = metrics.get("eval_accuracy", -metrics["eval_loss"])
        look = {"step": state.global_step, "score": score}
        if self._steering is not None:
            lam = self._steering.budget.value
            self._steering.look(state.global_step, score)
            look["lam"] = float(lam)
        self.history.append(look)


def accuracy_of(prediction: Any) -> dict[str, float]:
    """Return the accuracy, for `Trainer`."""
    return {"accuracy": float((prediction.predictions.argmax(1) == prediction.label_ids).mean())}


@torch.no_grad()
def quality(model: nn.Module, part: Part) -> dict[str, float]:
    """Return the loss, nats per text or per token, and accuracy or perplexity."""
    language = part.labels.ndim > 1
    loss = hits = counted = 0.0
    for start in range(0, len(part), BATCH):
        rows = slice(start, start + BATCH)
        logits = model(**{name: value[rows] for name, value in part.inputs.items()}).logits
        labels = part.labels[rows]
        if language:
            logits, labels = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
        loss += float(F.cross_entropy(logits, labels, reduction="sum"))
        hits += int((logits.argmax(1) == labels).sum())
        counted += len(labels)
    loss /= counted
    if language:
        return {"loss": loss, "perplexity": math.exp(min(loss, 700))}  # beyond are no floats
    return {"loss": loss, "accuracy": hits / counted}


def score_of(found: Mapping[str, float]) -> float:
    """Return what the margin is of: the accuracy, or minus the loss."""
    return found.get("accuracy", -found["loss"])


def status(model: nn.Module, validation: Part, score: float) -> str:
    """Return how a training ended: `ok` where it beats the best constant answer on validation."""
    if not math.isfinite(score) or not all(bool(p.isfinite().all()) for p in model.parameters()):
        return "diverged"
    labels = validation.labels
    answers = labels if labels.ndim == 1 else labels[:, 1:]
    shares = answers.flatten().bincount().double() / answers.numel()
    shares = shares[shares > 0]
    constant = float(shares.max() if labels.ndim == 1 else (shares * shares.log()).sum())
    return "ok" if score > constant else "collapsed"


def finite(value: Any) -> Any:
    """Return a value with None for every number in it that JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def measured(model: nn.Module, test: Part, settings: Settings) -> dict[str, Any]:
    """Return energy, sparsity and MACs of the feed-forward layers, and MACs of the whole model."""
    layers = feed_forward(model)
    inputs = test.first(MEASURED)
    audit = ma.audit(model, inputs, layers=layers)
    total, near = audit.total, near_zero(model, inputs, layers)
    return {
        "energy_activation": total.energy_activation,
        "energy_gauge_fixed": total.energy_gauge_fixed,
        "energy_gauge_fixed_reason": audit.layers[0].gauge_reason,
        "zero_fraction": total.zero_fraction,
        "near_zero_fraction": sum(near.values()) / len(near),
        "silent_units": total.silent_units,
        "macs_dense": total.macs_dense,
        "macs_effective": total.macs_effective,
        "layers": {
            layer.name: {
                "energy_activation": layer.energy_activation,
                "energy_gauge_fixed": layer.energy_gauge_fixed,
                "zero_fraction": layer.zero_fraction,
                "near_zero_fraction": near[layer.name],
                "silent_units": layer.silent_units,
                "macs_dense": layer.macs_dense,
            }
            for layer in audit.layers
        },
    }


def near_zero(model: nn.Module, inputs: dict[str, Tensor], layers: list[str]) -> dict[str, float]:
    """Return for each layer how many of its activations can be neglected.

    That is the largest share of a layer's activations that holds no more than `NEGLIGIBLE` of its
    energy; exact zeros are among them. GELU has no exact zeros; this counts its tail like ReLU's.
    """
    with torch.no_grad(), ma.Tape(model, layers) as tape:
        model(**inputs)
    shares = {}
    for layer in tape.trajectory.layers:
        squares, _ = layer.value.flatten().square().sort()
        held = squares.double().cumsum(0)
        shares[layer.name] = float((held <= NEGLIGIBLE * held[-1]).double().mean())
    return shares


def compaction(model: nn.Module, parts: Mapping[str, Part], settings: Settings) -> dict[str, Any]:
    """Take out silent units, and near-silent ones as far as the validation part allows.

    Tolerances are tried from 0 upwards; the last counts that costs no more of the validation score
    than the part of the margin that training does not aim for.
    """
    calibration = parts["train"].first(MEASURED)
    before = quality(model, parts["validation"])
    allowed = (1 - settings.aim) * settings.margin
    tried, chosen = [], None
    try:
        for tolerance in settings.tolerances:
            found = ma.compact(model, calibration, tolerance=tolerance, batch_size=BATCH)
            after = quality(found.model, parts["validation"])
            tried.append({"tolerance": tolerance, "removed": len(found.removed), **after})
            if chosen is not None and score_of(before) - score_of(after) > allowed:
                break
            chosen = tolerance, found
    except MinActionError as error:
        if chosen is None:
            return {"error": str(error)}
    assert chosen is not None
    tolerance, found = chosen
    layers = feed_forward(model)
    audit = ma.audit(found.model, parts["test"].first(MEASURED), layers=layers)
    return {
        "tolerance": tolerance,
        "tried": tried,
        "exact": sum(unit.layer.endswith(WRITERS) for unit in found.exact),
        "approximate": sum(unit.layer.endswith(WRITERS) for unit in found.approximate),
        "elsewhere": sum(not unit.layer.endswith(WRITERS) for unit in found.removed),
        "units": {k: list(v) for k, v in found.units.items() if k.endswith(WRITERS)},
        "macs": [found.macs_before, found.macs_after],
        "macs_effective": audit.total.macs_effective,
        "parameters": [found.parameters_before, found.parameters_after],
        "quality": {name: quality(found.model, parts[name]) for name in ("validation", "test")},
        "latency": latency(model, found, parts["test"], settings),
    }


def latency(
    model: nn.Module, found: ma.Compaction, test: Part, settings: Settings
) -> list[dict[str, Any]]:
    """Time both networks in turns; none where nothing went, since they are the same network."""
    if not found.removed:
        return []
    measured = measure_latency(
        model,
        found.model,
        test.first(max(settings.latency_batches)),
        batches=settings.latency_batches,
        runtimes=("pytorch",),
        pairs=settings.pairs,
    )
    return [entry.to_dict() for entry in measured]
