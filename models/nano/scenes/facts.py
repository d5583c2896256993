"""What is true of a pair of pictures, and the words for places.

A `Facts` record is everything the language of a pair may rely on. Cells are
numbered row by row: 0 is top-left, 8 is bottom-right.
"""

from dataclasses import asdict, dataclass, field

CELLS = (
    "top-left", "top-center", "top-right",
    "center-left", "center-center", "center-right",
    "bottom-left", "bottom-center", "bottom-right",
)

#: A cell counts as changed when more than this share of its pixels changed.
CELL_THRESHOLD = 0.05

GROUNDS = ("grassland", "bare land", "woodland", "farmland")


@dataclass
class Facts:
    """The truth about one pair; every list has one entry per grid cell."""

    category: str = "unchanged"
    road_count: int = 0          # connected changed road areas
    building_count: int = 0      # connected changed buildings
    road_cells: list = field(default_factory=lambda: [0] * 9)
    building_cells: list = field(default_factory=lambda: [0] * 9)
    road_share: list = field(default_factory=lambda: [0.0] * 9)
    building_share: list = field(default_factory=lambda: [0.0] * 9)
    houses_added: int = 0
    houses_removed: int = 0
    large_added: int = 0
    large_removed: int = 0
    roads_added: int = 0
    roads_removed: int = 0
    former_ground: str = ""      # what the changed place was; "" when unclear
    woodland_cleared: bool = False
    buildings_before: int = 0
    buildings_after: int = 0

    @property
    def changed(self):
        return bool(self.road_count or self.building_count)

    @property
    def added(self):
        return bool(self.houses_added or self.large_added or self.roads_added)

    @property
    def removed(self):
        return bool(self.houses_removed or self.large_removed or self.roads_removed)

    def cells(self):
        """Numbers of the cells in which a road or a building changed."""
        return [i for i in range(9) if self.road_cells[i] or self.building_cells[i]]

    def shares(self):
        """The changed share of each cell, roads and buildings together."""
        return [road + building for road, building in zip(self.road_share, self.building_share)]

    def to_json(self):
        return {"changed": self.changed, **asdict(self)}

    @classmethod
    def from_json(cls, record):
        known = cls.__dataclass_fields__
        return cls(**{k: v for k, v in record.items() if k in known})


SCENE = "across the scene"
#: Phrase and the cells it covers, from narrow to wide.
REGIONS = tuple(
    [(f"in the {name} corner", {i}) for i, name in enumerate(CELLS) if i in (0, 2, 6, 8)]
    + [
        ("in the center", {4}),
        ("at the top-center", {1}), ("at the center-left", {3}),
        ("at the center-right", {5}), ("at the bottom-center", {7}),
        ("at the top", {0, 1, 2}), ("across the middle", {3, 4, 5}), ("at the bottom", {6, 7, 8}),
        ("on the left side", {0, 3, 6}), ("down the middle", {1, 4, 7}), ("on the right side", {2, 5, 8}),
        ("in the upper-left part", {0, 1, 3, 4}), ("in the upper-right part", {1, 2, 4, 5}),
        ("in the lower-left part", {3, 4, 6, 7}), ("in the lower-right part", {4, 5, 7, 8}),
        ("in the upper part", {0, 1, 2, 3, 4, 5}), ("in the lower part", {3, 4, 5, 6, 7, 8}),
        ("in the left part", {0, 1, 3, 4, 6, 7}), ("in the right part", {1, 2, 4, 5, 7, 8}),
        (SCENE, set(range(9))),
    ]
)


#: A phrase is used when its region holds this share of the changed area, and
#: still counts as true when it holds the smaller one.
REGION_USED, REGION_TRUE = 0.9, 0.8


def _held(region, shares):
    """The part of the changed area that lies in the cells of `region`."""
    total = sum(shares)
    return sum(shares[i] for i in region) / total if total else 0.0


def region_phrase(shares):
    """The narrowest phrase for where an area changed, given its share of each
    cell; "" when nothing did."""
    return next((phrase for phrase, region in REGIONS if _held(region, shares) >= REGION_USED), "")


def true_regions(shares):
    """Every phrase that is true of the changed area and not idle: `across the
    scene` needs change in at least four cells, or no narrower phrase."""
    found = [phrase for phrase, region in REGIONS[:-1] if _held(region, shares) >= REGION_TRUE]
    if region_phrase(shares) == SCENE or sum(s > CELL_THRESHOLD for s in shares) >= 4:
        found.append(SCENE)
    return found


def dihedral(cells, turns, mirror):
    """A per-cell list after `turns` quarter turns (as numpy.rot90) and then,
    if `mirror`, a left-right flip."""
    rows = [list(cells[0:3]), list(cells[3:6]), list(cells[6:9])]
    for _ in range(turns % 4):
        rows = [[rows[r][c] for r in range(3)] for c in (2, 1, 0)]
    if mirror:
        rows = [row[::-1] for row in rows]
    return [v for row in rows for v in row]
