"""Rows of the table of data sets: muscles, hearts, brains and wearables."""

from __future__ import annotations

from minaction.data.source import Source, SourceFile, listed_files

_GITHUB = "https://raw.githubusercontent.com/"
_STRESS_PREDICT = (
    f"{_GITHUB}italha-d/Stress-Predict-Dataset/f49d2eae603f90c3f0140fbbbae7c0480d651023/"
)
_MYO = f"{_GITHUB}aljazfrancic/myo-readings-dataset/2630b1dd8b83b2fa386f06d536f64254ad541ac5/"
# 16 of the records that de Chazal, O'Dwyer, Reilly (2004) deal to training and test patients. There
# are no checksums to quote here, but a record's header holds one of its signal.
MIT_BIH_TRAIN = ("101", "106", "119", "201", "205", "207", "208", "215")
MIT_BIH_VALIDATION = ("203", "223")
MIT_BIH_TEST = ("100", "200", "210", "213", "214", "233")


def _mit_bih(title: str, class_names: tuple[str, ...], folder: str | None) -> Source:
    return Source(
        title=title,
        modality="physiological",
        shape=(72, 1),
        class_names=class_names,
        files=tuple(
            SourceFile(
                name=f"{record}.{kind}",
                urls=(f"https://physionet.org/files/mitdb/1.0.0/{record}.{kind}",),
            )
            for record in sorted((*MIT_BIH_TRAIN, *MIT_BIH_VALIDATION, *MIT_BIH_TEST))
            for kind in ("hea", "dat", "atr")
        ),
        folder=folder,
        licence="ODC-BY 1.0",
        citation=(
            "Moody, Mark, The impact of the MIT-BIH Arrhythmia Database, IEEE Engineering in "
            "Medicine and Biology 20(3):45-50, 2001; Goldberger et al., PhysioBank, PhysioToolkit, "
            "and PhysioNet, Circulation 101(23):e215-e220, 2000"
        ),
        homepage="https://physionet.org/content/mitdb/1.0.0/",
    )


PHYSIOLOGICAL: dict[str, Source] = {
    "myo-readings": Source(
        title="EMG of the forearm, 7 gestures and rest, 5 people in 3 sessions each",
        modality="physiological",
        shape=(5, 16),
        class_names=(
            *("rest", "flexion", "extension", "radial deviation", "ulnar deviation"),
            *("pronation", "supination", "fist"),
        ),
        # Checksums computed from that commit's files, decompressed.
        files=listed_files("myo-readings.sha256", lambda path: f"{_MYO}{path}"),
        licence="MIT",
        citation="Francic and contributors, myo-readings-dataset, GitHub, 2021-2024",
        homepage="https://github.com/aljazfrancic/myo-readings-dataset",
    ),
    "mit-bih": _mit_bih(
        "MIT-BIH Arrhythmia, 16 ECG records, four AAMI classes of beats, other patients tested",
        ("normal", "supraventricular", "ventricular", "fusion"),
        None,
    ),
    "mit-bih-nv": _mit_bih(
        "MIT-BIH Arrhythmia, 16 ECG records, normal or ventricular beats, other patients tested",
        ("normal", "ventricular"),
        "mit-bih",
    ),
    "stress-predict": Source(
        title="Stress-Predict, a wristband on 34 people at rest and at stressful tasks",
        modality="physiological",
        shape=(60, 5),
        class_names=("rest", "stress"),
        # Checksums computed from that commit's files.
        files=listed_files("stress-predict.sha256", lambda path: f"{_STRESS_PREDICT}{path}"),
        licence="MIT",
        citation=(
            "Iqbal et al., Stress Monitoring Using Wearable Sensors: A Pilot Study and "
            "Stress-Predict Dataset, Sensors 22(21):8135, 2022"
        ),
        homepage="https://github.com/italha-d/Stress-Predict-Dataset",
    ),
    "eegmat": Source(
        title="EEG of 10 students at rest and at mental arithmetic, other students tested",
        modality="physiological",
        shape=(7, 95),
        class_names=("rest", "arithmetic"),
        # Checksums computed from unmodified copies.
        files=listed_files(
            "eegmat.sha256", lambda path: f"https://physionet.org/files/eegmat/1.0.0/{path}"
        ),
        licence="ODC-BY 1.0",
        citation=(
            "Zyma et al., Electroencephalograms during Mental Arithmetic Task Performance, "
            "Data 4(1):14, 2019; Goldberger et al., PhysioBank, PhysioToolkit, and PhysioNet, "
            "Circulation 101(23):e215-e220, 2000"
        ),
        homepage="https://physionet.org/content/eegmat/1.0.0/",
    ),
    "wesad": Source(
        title="WESAD, chest strap and wristband on 15 people, other people tested",
        modality="physiological",
        shape=(60, 4),
        class_names=("baseline", "stress", "amusement"),
        # There is no checksum to quote here, but a zip archive holds one of each of its files.
        files=(
            SourceFile(
                name="WESAD.zip",
                urls=("https://uni-siegen.sciebo.de/s/HGdUkoNlW1Ub0Gx/download",),
                unpacked="WESAD",
            ),
        ),
        licence="for scientific, non-commercial use, with credit to the authors",
        citation=(
            "Schmidt, Reiss, Duerichen, Marberger, Van Laerhoven, Introducing WESAD, a Multimodal "
            "Dataset for Wearable Stress and Affect Detection, ICMI 2018, "
            "doi:10.1145/3242969.3242985"
        ),
        homepage="https://archive.ics.uci.edu/dataset/465",
    ),
    "simulated-stress": Source(
        title="Simulated people at rest and under stress, 3 simulated signals, nothing measured",
        modality="physiological",
        shape=(60, 3),
        class_names=("rest", "stress"),
        licence="MIT (neurokit2, which simulates them)",
        citation=(
            "Makowski et al., NeuroKit2: A Python toolbox for neurophysiological signal "
            "processing, Behavior Research Methods 53:1689-1696, 2021"
        ),
        homepage="https://neuropsychology.github.io/NeuroKit/",
        offline=True,
        simulated=True,
    ),
}
