"""What people look like and wear: cuts, colours and patterns, each drawn from its own distribution."""

from typing import NamedTuple

import numpy as np

Colour = tuple[float, float, float]  # linear-ish RGB, 0..1

# From light to dark, as photographs show them.
SKIN_TONES = np.array([(236, 196, 174), (224, 178, 150), (206, 156, 124), (176, 124, 92), (132, 86, 60), (84, 54, 40)])
HAIR_COLOURS = ((22, 18, 16), (38, 26, 20), (66, 44, 30), (104, 72, 44), (164, 128, 82), (120, 60, 34), (150, 148, 146))
PATTERNS = ("plain", "stripes across", "stripes along", "check", "dots", "blotches", "gradient")


class Cloth(NamedTuple):
    """Colours and pattern of one piece."""

    colour: Colour
    second: Colour
    pattern: str
    size_mm: float
    share: float  # of the second colour
    has_print: bool = False


class Outfit(NamedTuple):
    """Lengths are along limbs (0..1) or trunk (0 hip joints, 1 neck); None: not worn."""

    seed: int  # of folds, noise and patterns
    skin: Colour
    hair: Colour
    hair_mm: float  # thickness on the scalp
    hair_length: float  # from 0.4 on it falls over the neck
    beard: float
    hat: bool
    sleeve: float
    neck: float
    hem: float
    shirt_gap_mm: float
    sleeve_width: float
    drape: float
    jacket_sleeve: float  # 0: no jacket
    jacket_hem: float
    opening_mm: float
    waist: float
    leg_end: float
    trouser_gap_mm: float
    leg_width: float
    skirt: float | None
    flare: float
    shoe_rise: float | None  # how far the shoes reach over the ankle
    folds_mm: float
    shirt: Cloth
    trousers: Cloth
    jacket: Cloth
    shoes: Cloth
    hat_cloth: Cloth
    strap_mm: float | None = None  # sleeveless: how far the shoulder straps reach from the middle


def draw_outfit(rng: np.random.Generator, gender: float, age: float, may_wear_skirt: bool = True) -> Outfit:
    """Clothes for summer or winter, home or street."""
    is_woman = gender > 0.5
    skirt = float(rng.uniform(0.35, 0.95)) if is_woman and may_wear_skirt and rng.random() < 0.22 else None
    leg_end = float(rng.choice([rng.uniform(0.2, 0.48), rng.uniform(0.6, 0.8), 0.95, 0.95, 0.95]))
    if skirt is not None:
        leg_end = 0.92 if rng.random() < 0.3 else 0.12
    short = rng.random() < 0.62
    untucked = rng.random() < 0.75
    jacket = rng.random() < 0.25
    tight = rng.random() < 0.3
    trouser_gap_mm = float(rng.uniform(5, 10))
    hair_length = float(rng.uniform(0.4, 1.0)) if rng.random() < (0.6 if is_woman else 0.06) else 0.0
    bald = not is_woman and rng.random() < 0.15 + 0.2 * age
    return Outfit(
        seed=int(rng.integers(1 << 30)),
        skin=draw_skin(rng),
        hair=draw_hair(rng, age),
        hair_mm=0.0 if bald else float(rng.uniform(4, 24)),
        hair_length=0.0 if bald else hair_length,
        beard=float(rng.uniform(0.3, 1.0)) if not is_woman and rng.random() < 0.4 else 0.0,
        hat=bool(rng.random() < 0.1),
        sleeve=float(rng.uniform(0.08, 0.45)) if short else float(rng.choice([0.72, 0.97, 0.97])),
        neck=float(rng.uniform(0.86, 1.04)),
        hem=float(rng.uniform(-0.22, -0.04)) if untucked else 0.06,
        shirt_gap_mm=trouser_gap_mm + float(rng.uniform(4, 7) if tight else rng.uniform(6, 16)) if untucked else 2.5,
        sleeve_width=float(0 if tight else rng.uniform(0.7, 1.15)),
        drape=float(rng.uniform(0, 0.25) if tight else rng.uniform(0.3, 1.0)),
        jacket_sleeve=0.97 if jacket else 0.0,
        jacket_hem=float(rng.uniform(-0.3, 0.0)),
        opening_mm=float(rng.choice([0.0, rng.uniform(15, 90)])),
        waist=float(rng.uniform(0.14, 0.24)),
        leg_end=leg_end,
        trouser_gap_mm=trouser_gap_mm,
        leg_width=float(0 if tight else rng.uniform(0.6, 1.1)),
        skirt=skirt,
        flare=float(rng.uniform(0.85, 1.25)),
        shoe_rise=None if rng.random() < 0.06 else float(rng.choice([-0.03, 0.0, 0.04, 0.12])),
        folds_mm=float(rng.uniform(1.5, 6)),
        shirt=draw_cloth(rng, prints=0.3),
        trousers=draw_cloth(rng, plain=0.85, denim=0.35),
        jacket=draw_cloth(rng, plain=0.75, denim=0.1),
        shoes=draw_cloth(rng, plain=1.0),
        hat_cloth=draw_cloth(rng, plain=0.7),
    )


def without_sleeves(outfit: Outfit, rng: np.random.Generator) -> Outfit:
    """In a tank top, close or loose, with bare shoulders and upper arms."""
    return outfit._replace(
        sleeve=0.0, jacket_sleeve=0.0, strap_mm=float(rng.uniform(70, 150)), neck=float(rng.uniform(0.84, 1.0))
    )


def draw_skin(rng: np.random.Generator) -> Colour:
    """Between two neighbouring tones."""
    at = rng.uniform(0, len(SKIN_TONES) - 1.001)
    low, share = int(at), at % 1
    tone = SKIN_TONES[low] * (1 - share) + SKIN_TONES[low + 1] * share
    return _colour(tone + rng.normal(0, 5, 3))


def draw_hair(rng: np.random.Generator, age: float) -> Colour:
    """Grey more often with age; now and then dyed."""
    if rng.random() < 0.04:
        return _colour(rng.uniform(30, 220, 3))
    if rng.random() < age * 0.7:
        return _colour(np.full(3, rng.uniform(110, 215)) + rng.normal(0, 4, 3))
    return _colour(np.array(HAIR_COLOURS[int(rng.integers(len(HAIR_COLOURS)))]) * rng.uniform(0.7, 1.3))


def draw_cloth(rng: np.random.Generator, plain: float = 0.5, denim: float = 0.0, prints: float = 0.0) -> Cloth:
    """Grey tones as often as colours, which are duller than a painter's."""
    if rng.random() < denim:
        base = np.array((52, 68, 100)) * rng.uniform(0.5, 1.7)
        return Cloth(_colour(base), _colour(base * 1.25), "blotches", float(rng.uniform(90, 220)), 0.4)
    pattern = "plain" if rng.random() < plain else PATTERNS[int(rng.integers(1, len(PATTERNS)))]
    return Cloth(
        draw_colour(rng), draw_colour(rng), pattern, float(np.exp(rng.uniform(np.log(14), np.log(160)))),
        float(rng.uniform(0.2, 0.6)), bool(pattern == "plain" and rng.random() < prints),
    )  # fmt: skip


def draw_colour(rng: np.random.Generator, vividness: float = 1.0) -> Colour:
    """Black, white and grey are as common as all colours together."""
    grey = rng.choice([rng.uniform(12, 50), rng.uniform(50, 190), rng.uniform(200, 245)])
    if rng.random() < 0.45:
        return _colour(grey + rng.normal(0, 4, 3))
    return _colour(np.clip(rng.uniform(30, 190) + rng.uniform(-1, 1, 3) * vividness * rng.uniform(20, 90), 8, 240))


def _colour(rgb: np.ndarray) -> Colour:
    r, g, b = (np.clip(rgb, 3, 250) / 255).tolist()
    return r, g, b
