"""Masks of a plan, and the `Facts` they amount to."""

import cv2
import numpy as np

from . import SIZE
from .facts import CELL_THRESHOLD, Facts
from .roads import AFTER, BEFORE, BOTH

#: Smaller visible changes are not counted, and not marked as changed either.
MIN_AREA = 40
_EDGES = [0, round(SIZE / 3), round(2 * SIZE / 3), SIZE]


class Truth:
    """`buildings`, `roads`: date -> mask; `changed_buildings`, `changed_roads`:
    label maps (0 where nothing changed, then one number per object)."""

    def __init__(self, plan):
        self.plan = plan
        self.buildings = {d: self._mask(plan.buildings, d) for d in (BEFORE, AFTER)}
        self.roads = {d: self._mask(plan.roads, d) for d in (BEFORE, AFTER)}
        self.changed_buildings, self.building_objects = self._changed_buildings()
        self.changed_roads, self.road_objects = self._changed_roads()

    @staticmethod
    def _mask(things, date):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        for thing in things:
            if thing.when in (BOTH, date):
                thing.outline(mask)
        return mask

    def _changed_buildings(self):
        labels, objects = np.zeros((SIZE, SIZE), np.uint8), []
        for building in self.plan.buildings:
            if building.when != BOTH:
                mask = np.zeros((SIZE, SIZE), np.uint8)
                building.outline(mask)
                if cv2.countNonZero(mask) >= MIN_AREA:
                    objects.append((building.kind, building.when))
                    labels[mask > 0] = len(objects)
        return labels, objects

    def _changed_roads(self):
        labels, objects = np.zeros((SIZE, SIZE), np.uint8), []
        for when, other in ((AFTER, BEFORE), (BEFORE, AFTER)):
            new = cv2.bitwise_and(self.roads[when], cv2.bitwise_not(self.roads[other]))
            count, parts, stats, _ = cv2.connectedComponentsWithStats(new, connectivity=8)
            for i in range(1, count):
                if stats[i, cv2.CC_STAT_AREA] >= 2 * MIN_AREA:
                    objects.append(("road", when))
                    labels[parts == i] = len(objects)
        return labels, objects

    def facts(self, category):
        def number(objects, kind, when):
            return sum(1 for o in objects if o == (kind, when))

        b, r = self.building_objects, self.road_objects
        building_share, road_share = shares(self.changed_buildings), shares(self.changed_roads)
        added = any(when == AFTER for _, when in b + r)
        former = self.plan.former if added else ""
        return Facts(
            category=category,
            road_count=len(r), building_count=len(b),
            road_cells=[int(s > CELL_THRESHOLD) for s in road_share],
            building_cells=[int(s > CELL_THRESHOLD) for s in building_share],
            road_share=[round(s, 4) for s in road_share],
            building_share=[round(s, 4) for s in building_share],
            houses_added=number(b, "house", AFTER), houses_removed=number(b, "house", BEFORE),
            large_added=number(b, "large", AFTER), large_removed=number(b, "large", BEFORE),
            roads_added=number(r, "road", AFTER), roads_removed=number(r, "road", BEFORE),
            former_ground=former,
            woodland_cleared=former == "woodland",
            buildings_before=_visible(self.plan.buildings, BEFORE),
            buildings_after=_visible(self.plan.buildings, AFTER),
        )

    def maps(self, fine=30, coarse=15):
        """Training targets: `[6, fine, fine]` shares as uint8 (buildings
        before, after; roads before, after; changed buildings, roads) and
        `[2, coarse, coarse]` object densities that sum to the counts."""
        layers = (
            self.buildings[BEFORE], self.buildings[AFTER], self.roads[BEFORE], self.roads[AFTER],
            np.where(self.changed_buildings > 0, 255, 0).astype(np.uint8),
            np.where(self.changed_roads > 0, 255, 0).astype(np.uint8),
        )
        amounts = [
            densities(labels, len(objects), coarse)
            for labels, objects in ((self.changed_buildings, self.building_objects), (self.changed_roads, self.road_objects))
        ]
        return truth_maps(layers, fine), np.stack(amounts)


def truth_maps(layers, fine=30):
    """The masks as shares of coarser pixels."""
    return np.stack([cv2.resize(x, (fine, fine), interpolation=cv2.INTER_AREA) for x in layers])


def densities(labels, count, coarse=15):
    """A map that sums to the number of objects in a label map."""
    areas = np.bincount(labels.ravel(), minlength=count + 1).astype(np.float32)
    weight = 1.0 / np.maximum(areas, 1)
    weight[0] = 0.0
    mean = cv2.resize(weight[labels].astype(np.float32), (coarse, coarse), interpolation=cv2.INTER_AREA)
    return (mean * (SIZE / coarse) ** 2).astype(np.float16)


def shares(labels):
    """The share of each grid cell that is marked."""
    on = labels > 0
    return [
        float(on[_EDGES[r]:_EDGES[r + 1], _EDGES[c]:_EDGES[c + 1]].mean())
        for r in range(3) for c in range(3)
    ]


def _visible(buildings, date):
    count = 0
    for building in buildings:
        if building.when in (BOTH, date):
            x, y = building.parts[0][:2]
            count += -4 < x < SIZE + 4 and -4 < y < SIZE + 4
    return count
