"""Ranges from which scenes are drawn: the usual ones and a shifted set.

Colours are RGB. The shifted ranges do not overlap the usual ones where that
makes sense: other palettes, other ground sampling distances, gable roofs.
"""

from dataclasses import dataclass

GROUND = {
    "grassland": ((72, 80, 56), (96, 98, 66), (118, 110, 80), (134, 118, 92), (106, 90, 74), (86, 86, 72),
                  (128, 114, 82), (62, 72, 52), (112, 104, 96)),
    "bare land": ((206, 188, 150), (188, 168, 136), (222, 208, 172), (170, 150, 122), (178, 166, 150),
                  (150, 132, 110), (196, 184, 164)),
    "farmland": ((130, 126, 104), (160, 156, 136), (60, 84, 62), (96, 92, 64), (142, 120, 90)),
    "woodland": ((100, 92, 66), (84, 82, 58), (120, 106, 76), (92, 80, 64)),
}
SHIFTED_GROUND = {
    "grassland": ((92, 112, 62), (140, 138, 84), (112, 122, 92), (150, 132, 100)),
    "bare land": ((186, 140, 104), (202, 158, 120), (170, 160, 158), (214, 200, 190)),
    "farmland": ((150, 132, 80), (112, 128, 70), (176, 160, 120)),
    "woodland": ((96, 100, 70), (124, 112, 84), (110, 96, 66)),
}
CROWNS = ((44, 56, 38), (54, 66, 44), (66, 74, 50), (40, 62, 50), (78, 76, 58), (88, 82, 70), (58, 60, 44))
SHIFTED_CROWNS = ((48, 78, 40), (72, 92, 50), (104, 92, 62), (36, 54, 30))
ROOFS = ((92, 88, 84), (74, 72, 72), (104, 98, 92), (118, 110, 100), (66, 68, 74), (128, 122, 114), (92, 82, 74),
         (84, 86, 82), (146, 138, 130), (106, 90, 80), (132, 106, 90), (60, 58, 56), (86, 82, 80), (98, 96, 92))
SHIFTED_ROOFS = ((156, 92, 70), (172, 112, 84), (128, 76, 62), (108, 112, 124), (182, 170, 156), (86, 98, 110))
LARGE_ROOFS = ((226, 228, 230), (240, 242, 244), (196, 198, 200), (168, 168, 166), (206, 196, 178), (148, 150, 152),
               (120, 122, 124), (178, 190, 198), (132, 124, 112), (96, 98, 98))
SHIFTED_LARGE_ROOFS = ((96, 120, 156), (150, 92, 78), (214, 206, 188), (120, 140, 128), (232, 232, 226))
ROADS = {  # surface, edge, marked
    "asphalt": ((118, 116, 116), (156, 154, 148), True),
    "dark asphalt": ((84, 84, 88), (140, 138, 132), False),
    "worn asphalt": ((142, 138, 132), (160, 156, 146), False),
    "concrete": ((172, 168, 158), (198, 192, 180), False),
    "dirt": ((192, 174, 140), (176, 158, 126), False),
}
CARS = ((230, 230, 230), (200, 202, 206), (50, 50, 56), (120, 24, 24), (36, 48, 96), (150, 150, 152), (26, 26, 28),
        (176, 164, 140), (196, 60, 40))


@dataclass(frozen=True)
class Style:
    ground: dict
    crowns: tuple
    roofs: tuple
    large_roofs: tuple
    scale: tuple              # pixels per half metre
    gable: float              # share of houses with gable instead of hip roofs
    flat: float               # share of houses with flat roofs
    shift: float              # largest misregistration, pixels
    turn: float               # largest misregistration, degrees
    gain: float               # spread of the colour balance between dates


USUAL = Style(GROUND, CROWNS, ROOFS, LARGE_ROOFS, (0.78, 1.28), 0.25, 0.05, 3.0, 0.3, 0.10)
SHIFTED = Style(SHIFTED_GROUND, SHIFTED_CROWNS, SHIFTED_ROOFS, SHIFTED_LARGE_ROOFS,
                (0.68, 1.45), 0.75, 0.15, 5.0, 0.8, 0.15)


def jitter(rng, colour, amount, hue=0.2):
    """`colour` with a common and a smaller per-channel change, in 0..255."""
    common = rng.gauss(0, amount)
    return tuple(min(255, max(0, round(c + common + rng.gauss(0, amount * hue)))) for c in colour)
