"""Lays out a scene: grounds, roads, rows of houses, large buildings, trees,
and which of them exist before, after, or at both dates."""

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from . import SIZE
from .buildings import add_parking, new_house, new_large
from .noise import patches
from .roads import AFTER, BEFORE, BOTH, box, car_places, curve, new_road, walk_along
from .style import jitter


@dataclass
class Plan:
    style: object
    scale: float
    ground: str                  # the ground everywhere else
    changed_kind: str            # "" when nothing changes
    former: str = ""             # the ground under what is built
    roads: list = field(default_factory=list)
    buildings: list = field(default_factory=list)
    zones: list = field(default_factory=list)   # (soft mask, ground, when)
    woods: list = field(default_factory=list)   # (soft mask, density, when)
    trees: list = field(default_factory=list)   # (x, y, radius, colour, when)
    cars: dict = field(default_factory=lambda: {BEFORE: [], AFTER: []})
    taken: np.ndarray = None     # where something stands already


CHANGES = (
    ("infill", 0.17), ("row", 0.20), ("development", 0.24), ("road", 0.09), ("large", 0.14),
    ("demolish", 0.08), ("replace", 0.03), ("large and road", 0.05),
)
GROUNDS = (("grassland", 0.48), ("bare land", 0.22), ("woodland", 0.20), ("farmland", 0.10))


def weighted(rng, table):
    names, weights = zip(*table)
    return rng.choices(names, weights)[0]


def lay_out(rng, style, changed):
    """A `Plan`. When `changed` is set, something differs between the dates."""
    kind = weighted(rng, CHANGES) if changed else ""
    ground = weighted(rng, GROUNDS)
    plan = Plan(style, rng.uniform(*style.scale), ground, kind, ground if changed else "")
    plan.taken = np.zeros((SIZE, SIZE), np.uint8)
    theme = _theme(rng, kind)
    main, branches = _roads(rng, plan, theme)
    new_roads = _pick_new_roads(rng, kind, main, branches)
    for road in new_roads:
        road.when = AFTER
    plan.roads = main + branches
    for road in plan.roads:
        road.outline(plan.taken, grow=5)
    if theme in ("commercial", "mixed"):
        _large_buildings(rng, plan, plan.roads, rng.choice((1, 1, 2, 3)))
    if theme in ("suburb", "mixed", "rural"):
        _houses(rng, plan, plan.roads, theme)
    _decide(rng, plan, kind, new_roads)
    _grounds(rng, plan)
    _vegetation(rng, plan, theme)
    for road in plan.roads:
        for date in (BEFORE, AFTER):
            if road.when in (BOTH, date):
                plan.cars[date] += car_places(rng, road, plan.scale, rng.choice((40, 80, 160)))
    return plan


def _theme(rng, kind):
    if kind in ("row", "development"):
        return "suburb"
    if kind in ("large", "large and road"):
        return rng.choice(("commercial", "mixed"))
    if kind in ("infill", "demolish", "replace"):
        return rng.choice(("suburb", "suburb", "rural", "mixed"))
    return weighted(rng, (("suburb", 0.42), ("rural", 0.22), ("commercial", 0.14), ("mixed", 0.1), ("empty", 0.12)))


# --- roads -----------------------------------------------------------------------

def _edge_point(rng, angle):
    """A point just outside the picture in direction `angle` from its middle."""
    reach = SIZE * 0.78
    return np.array([SIZE / 2 + math.cos(angle) * reach, SIZE / 2 + math.sin(angle) * reach])


def _across(rng, angle, offset):
    """End points of a line across the scene, `offset` pixels off its middle."""
    aside = np.array([-math.sin(angle), math.cos(angle)]) * offset
    return _edge_point(rng, angle + math.pi) + aside, _edge_point(rng, angle) + aside


def _roads(rng, plan, theme):
    """`(main roads, branch roads)`."""
    scale = plan.scale
    if theme == "empty" and rng.random() < 0.5:
        return [], []
    angle = rng.choice((0, math.pi / 2)) + rng.gauss(0, 0.35) if rng.random() < 0.7 else rng.uniform(0, math.pi)
    offset = rng.uniform(-95, 95)
    bend = rng.choice((0, 0, rng.uniform(-40, 40)))
    start, end = _across(rng, angle, offset)
    paved = None if theme in ("rural", "empty") else rng.choice(("asphalt", "worn asphalt", "dark asphalt", "concrete"))
    first = new_road(rng, curve(start, end, bend), scale, paved, wide=theme == "commercial" and rng.random() < 0.5)
    main, branches = [first], []
    material = first.material if rng.random() < 0.75 else None
    gap = rng.uniform(100, 126) * scale
    if theme in ("suburb", "mixed") and rng.random() < 0.7:
        side = -1 if offset > 0 else 1
        start, end = _across(rng, angle + rng.gauss(0, 0.06), offset + side * gap)
        branches.append(new_road(rng, curve(start, end, bend * rng.uniform(0.6, 1.2)), scale, material))
    count = {"suburb": (0, 1, 1), "mixed": (0, 1), "rural": (0, 0, 1), "commercial": (0, 0, 1), "empty": (0, 0, 1)}[theme]
    for _ in range(rng.choice(count)):
        i = rng.randrange(6, len(first.points) - 6)
        base = first.points[i]
        to = first.points[i + 1] - base
        turn = math.atan2(to[1], to[0]) + rng.choice((-1, 1)) * math.pi / 2 + rng.gauss(0, 0.15)
        dead_end = rng.random() < 0.45
        reach = rng.uniform(75, 130) * scale if dead_end else SIZE * 1.5
        tip = base + np.array([math.cos(turn), math.sin(turn)]) * reach
        branches.append(new_road(rng, curve(base, tip, rng.uniform(-0.14, 0.14) * reach), scale, material,
                                 bulb=dead_end and rng.random() < 0.7))
    return main, branches


def _pick_new_roads(rng, kind, main, branches):
    if not main:
        return []
    if kind == "road":
        pool = branches or main
        return [rng.choice(pool)] if rng.random() < 0.75 else list(main + branches)
    if kind == "development":
        return list(branches) if branches and rng.random() < 0.7 else list(main + branches)
    if kind == "large and road":
        return [rng.choice(main + branches)]
    if kind in ("row", "large") and branches and rng.random() < 0.2:
        return [rng.choice(branches)]
    return []


# --- buildings -------------------------------------------------------------------

def _free(plan, building, grow):
    """Whether nothing stands within `grow` pixels of it and it is in view."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    building.outline(mask, 255, grow)
    area = cv2.countNonZero(mask)
    return area > 120 and not cv2.countNonZero(cv2.bitwise_and(mask, plan.taken))


def _place(plan, building):
    building.outline(plan.taken, 255, 2)
    plan.buildings.append(building)


def _houses(rng, plan, roads, theme):
    scale = plan.scale
    palette = rng.sample(plan.style.roofs, k=rng.choice((1, 2, 4))) if rng.random() < 0.7 else None
    drive = jitter(rng, rng.choice(((200, 192, 176), (176, 170, 160), (216, 208, 190), (150, 146, 140))), 8)
    garden = rng.choice((None, None, (78, 82, 56), (96, 94, 66), (66, 74, 50), (112, 100, 78), (150, 134, 108)))
    fenced = rng.random() < 0.55
    density = rng.uniform(0.6, 1.05) if theme == "suburb" else rng.uniform(0.08, 0.45)
    for road in roads:
        spacing = rng.uniform(35, 50) * scale * (1.0 if theme != "rural" else 1.6)
        for side in (-1, 1):
            if theme == "suburb" and rng.random() < 0.1:
                continue
            setback = road.width / 2 + rng.uniform(20, 29) * scale
            for x, y, angle in walk_along(road.points, spacing, rng.uniform(8, spacing)):
                if rng.random() > density:
                    continue
                off = setback * (1 + rng.gauss(0, 0.06)) * side
                hx, hy = x - math.sin(angle) * off, y + math.cos(angle) * off
                if not (-14 < hx < SIZE + 14 and -14 < hy < SIZE + 14):
                    continue
                house = new_house(rng, plan.style, hx, hy, angle + rng.gauss(0, 0.05), scale, BOTH, palette)
                if _free(plan, house, 6):
                    house.road = road
                    house.side = side
                    _garden(rng, house, (x, y), (hx, hy), angle, side, spacing, setback, scale)
                    house.drive_colour, house.lot_colour = drive, garden and jitter(rng, garden, 5)
                    house.fence = fenced
                    _place(plan, house)


def _garden(rng, house, at_road, at, angle, side, spacing, setback, scale):
    nx, ny = -math.sin(angle) * side, math.cos(angle) * side
    shift = rng.choice((-1, 1)) * rng.uniform(6, 10) * scale
    cx, cy = math.cos(angle) * shift, math.sin(angle) * shift
    middle = ((at_road[0] + at[0]) / 2 + cx, (at_road[1] + at[1]) / 2 + cy)
    house.drive = box(*middle, angle + math.pi / 2, setback, rng.uniform(7, 10) * scale)
    depth = rng.uniform(34, 50) * scale
    lot = box(at[0] + nx * depth * 0.22, at[1] + ny * depth * 0.22, angle, spacing * 0.97, depth)
    house.lot = lot if side > 0 else lot[[3, 2, 1, 0]]
    if rng.random() < 0.08:
        back = (at[0] + nx * 19 * scale, at[1] + ny * 19 * scale)
        house.pool = box(*back, angle, rng.uniform(8, 13) * scale, rng.uniform(5, 8) * scale)


def _large_buildings(rng, plan, roads, count):
    for _ in range(count * 5):
        if count == 0:
            break
        road = rng.choice(roads) if roads else None
        if road is not None and rng.random() < 0.8:
            x, y, angle = rng.choice(list(walk_along(road.points, 24)))
            side = rng.choice((-1, 1))
            off = side * (road.width / 2 + rng.uniform(38, 70) * plan.scale)
            x, y = x - math.sin(angle) * off, y + math.cos(angle) * off
        else:
            x, y, angle = rng.uniform(30, 226), rng.uniform(30, 226), rng.uniform(0, math.pi)
        if not (10 < x < SIZE - 10 and 10 < y < SIZE - 10):
            continue
        building = new_large(rng, plan.style, x, y, angle, plan.scale)
        if _free(plan, building, 10):
            building.road, building.side = road, 0
            building.parked = add_parking(rng, building, plan.scale) if rng.random() < 0.7 else []
            _place(plan, building)
            if building.paving is not None:
                yard = np.zeros_like(plan.taken)
                cv2.fillPoly(yard, [np.round(building.paving).astype(np.int32)], 255)
                plan.taken |= yard
            count -= 1


def _decide(rng, plan, kind, new_roads):
    """Sets `when` of every building."""
    houses = [b for b in plan.buildings if b.kind == "house"]
    large = [b for b in plan.buildings if b.kind == "large"]
    on_new = [b for b in plan.buildings if b.road in new_roads] if new_roads else []
    chosen = list(on_new)
    when = AFTER
    if kind == "infill" and houses:
        chosen = rng.sample(houses, k=min(len(houses), rng.choice((1, 1, 2, 3, 4))))
    elif kind == "row" and houses:
        rows = {}
        for b in houses:
            rows.setdefault((id(b.road), b.side), []).append(b)
        rows = list(rows.values())
        rng.shuffle(rows)
        for row in rows[: rng.choice((1, 1, 2, 4))]:
            chosen += row if rng.random() < 0.7 else row[: max(2, len(row) // 2)]
    elif kind == "development":
        if rng.random() < 0.35:
            chosen = list(houses)
    elif kind in ("large", "large and road") and large:
        chosen += large if rng.random() < 0.5 else [rng.choice(large)]
        if kind == "large" and houses and rng.random() < 0.15:
            chosen += rng.sample(houses, k=min(len(houses), rng.choice((1, 2, 4))))
    elif kind in ("demolish", "replace") and plan.buildings:
        when = BEFORE
        chosen = rng.sample(plan.buildings, k=min(len(plan.buildings), rng.choice((1, 1, 2, 3))))
    for building in chosen:
        building.when = when
    if kind == "replace":
        rest = [b for b in plan.buildings if b.when == BOTH]
        for building in rng.sample(rest, k=min(len(rest), rng.choice((1, 2, 3)))):
            building.when = AFTER
    for building in large:
        for date in (BEFORE, AFTER):
            if building.when in (BOTH, date):
                plan.cars[date] += [c for c in getattr(building, "parked", []) if rng.random() < 0.7]


# --- grounds and vegetation ------------------------------------------------------

def _around_changes(plan, reach):
    """A soft mask around everything that is new."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for road in plan.roads:
        if road.when == AFTER:
            road.outline(mask, grow=reach)
    for building in plan.buildings:
        if building.when == AFTER:
            building.outline(mask, 255, reach * 1.7)
    return mask


def _grounds(rng, plan):
    """Ground zones. The place of a change may have had another ground."""
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        other = weighted(rng, (("grassland", 0.4), ("bare land", 0.3), ("farmland", 0.3)))
        mask = patches(rng, rng.uniform(0.08, 0.4), rng.uniform(2.5, 5.0), 0.2)
        when = BOTH if rng.random() < 0.75 else rng.choice((BEFORE, AFTER))
        plan.zones.append((mask, other, when))
    site = _around_changes(plan, 30 * plan.scale)
    if site.any():
        ragged = cv2.GaussianBlur(site, (0, 0), 6).astype(np.float32) / 255
        ragged = np.clip((ragged + 0.35 * (patches(rng, 0.5, 2.0, 1.0) - 0.5) - 0.35) * 5, 0, 1)
        plan.former = weighted(rng, GROUNDS) if rng.random() < 0.75 else plan.ground
        if plan.former == "woodland":
            plan.woods.append((ragged, rng.choice((2, 3, 3)), BEFORE))
        if plan.former != plan.ground:
            plan.zones.append((ragged, plan.former, BEFORE))
        if rng.random() < 0.45:
            after = "bare land" if rng.random() < 0.6 else "grassland"
            plan.zones.append((ragged, after, AFTER))

def _vegetation(rng, plan, theme):
    built = cv2.dilate(plan.taken, np.ones((5, 5), np.uint8)).astype(np.float32) / 255
    new = _around_changes(plan, 14 * plan.scale).astype(np.float32) / 255
    wooded = plan.ground == "woodland"
    if wooded or rng.random() < 0.35:
        mask = patches(rng, rng.uniform(0.35, 0.85) if wooded else rng.uniform(0.06, 0.3), rng.uniform(2.0, 4.5), 0.1)
        plan.woods.append((mask * (1 - built) * (1 - new), rng.choice((2, 3)) if wooded else rng.choice((1, 2, 3)), BOTH))
    colour = rng.choice(plan.style.crowns)
    plan.crown = jitter(rng, colour, 5)
    for _ in range(rng.choice((0, 4, 10, 24, 48))):
        x, y = rng.uniform(0, SIZE), rng.uniform(0, SIZE)
        radius = min(9.0, max(1.6, rng.lognormvariate(1.35, 0.45))) * plan.scale
        if plan.taken[min(SIZE - 1, int(y)), min(SIZE - 1, int(x))]:
            if rng.random() < 0.85:
                continue
            radius *= 0.6
        draw = rng.random()
        when = BOTH if draw < 0.82 else BEFORE if draw < 0.9 else AFTER
        if new[min(SIZE - 1, int(y)), min(SIZE - 1, int(x))] and when == BOTH:
            when = BEFORE if rng.random() < 0.6 else BOTH
        plan.trees.append((x, y, radius, jitter(rng, colour, 7), when))
