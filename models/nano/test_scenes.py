"""python -m unittest test_scenes: what the generator says is true, and its
answers are in the documented grammar."""

import random
import re
import unittest

import numpy as np

from scenes import language
from scenes.facts import CELLS, dihedral
from scenes.pair import make_pair
from scenes.plan import lay_out
from scenes.questions import KINDS, ask
from scenes.style import SHIFTED, USUAL
from scenes.truth import Truth, shares

CELL = "(top|center|bottom)-(left|center|right)"
LIST = rf"\[({CELL}(, {CELL}){{0,8}})?\]"
N = "([2-9]|[1-3][0-9]|40)"
GRAMMARS = {
    language.classify_answer: "yes|no",
    language.count_answer: "there are no changes in roads or buildings"
    rf"|(no new roads|1 new road|{N} new roads) and (no new buildings|1 new building|{N} new buildings)",
    language.localize_answer: f"roads {LIST} buildings {LIST}",
}


def some_facts(count):
    for i in range(count):
        rng = random.Random(i)
        plan = lay_out(rng, SHIFTED if i % 3 == 0 else USUAL, i % 4 > 0)
        yield Truth(plan).facts("changed")


class Language(unittest.TestCase):
    def test_captions_are_true(self):
        for facts in some_facts(200):
            for caption in language.captions(facts):
                wrong = [name for name, ok in language.stated_facts(caption, facts) if not ok]
                self.assertEqual(wrong, [], f"{caption}: {facts}")

    def test_a_false_caption_is_noticed(self):
        facts = next(f for f in some_facts(200) if f.houses_added == 2 and not f.roads_added)
        caption = language.captions(facts)[0]
        for wrong in (caption.replace("some houses", "many houses"), caption.replace("house", "road"),
                      "no change has occurred"):
            self.assertFalse(all(ok for _, ok in language.stated_facts(wrong, facts)), wrong)

    def test_answers_are_in_the_grammar(self):
        for facts in some_facts(200):
            for answer, grammar in GRAMMARS.items():
                self.assertRegex(answer(facts), f"^({grammar})$")

    def test_every_kind_of_question_has_an_answer(self):
        rng = random.Random(0)
        for facts in some_facts(30):
            for kind in KINDS:
                self.assertTrue(ask(facts, rng, kind)[2])

    def test_a_long_dialogue_keeps_its_last_question(self):
        rng = random.Random(0)
        for facts in some_facts(30):
            turns = language.dialogue(facts, rng, 6)
            text = language.processed(language.dialogue_text(turns[:5], turns[5][0]))
            self.assertLessEqual(len(text.split()), language.MAX_WORDS)
            self.assertTrue(text.endswith(language.processed(turns[5][0])))


class Scenes(unittest.TestCase):
    def test_the_same_seed_gives_the_same_pair(self):
        one, two = make_pair(3, 5), make_pair(3, 5)
        self.assertTrue((one.before == two.before).all() and (one.after == two.after).all())

    def test_turning_cells_agrees_with_turning_pictures(self):
        labels = (np.random.default_rng(0).random((256, 256)) > 0.7).astype(np.uint8)
        labels[:80, :80] = 1
        for turns in range(4):
            for mirror in (False, True):
                turned = np.rot90(labels, turns)
                turned = turned[:, ::-1] if mirror else turned
                expected = dihedral(shares(labels), turns, mirror)
                self.assertTrue(np.allclose(shares(turned), expected, atol=0.02))

    def test_cells_are_in_reading_order(self):
        self.assertEqual(CELLS[5], "center-right")
        self.assertTrue(all(re.fullmatch(CELL, name) for name in CELLS))


if __name__ == "__main__":
    unittest.main()
