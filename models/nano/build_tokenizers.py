"""Builds both tokenizers from the texts that the scenes can produce.

    python build_tokenizers.py --out weights

`llm/tokenizer.model` is a SentencePiece BPE model with byte fallback and the
LLaMA special ids; `bert/vocab.txt` is an uncased WordPiece vocabulary, to
whose end the model itself adds `[DEC]`.
"""

import argparse
import io
import pathlib
import random
import re
import string

import sentencepiece
from tokenizers import BertWordPieceTokenizer

from scenes import language, questions
from scenes.facts import CELLS, GROUNDS, Facts

LLM_PIECES = 1024
BERT_PIECES = 1024
#: Marks piece boundaries in the SentencePiece corpus only.
BOUNDARY = "\u241f"


def random_facts(rng):
    """Facts with every word and number, not a plausible scene."""
    facts = Facts()
    if rng.random() < 0.15:
        return facts
    for noun in ("houses", "large", "roads"):
        if rng.random() < 0.6:
            gone = rng.random() < 0.3
            number = rng.randint(1, 5) if noun != "houses" else rng.randint(1, language.MAX_COUNT)
            setattr(facts, f"{noun}_{'removed' if gone else 'added'}", number)
    facts.road_count = facts.roads_added + facts.roads_removed
    facts.building_count = (
        facts.houses_added + facts.large_added + facts.houses_removed + facts.large_removed
    )
    wide = rng.random()
    for cells, count in ((facts.road_cells, facts.road_count), (facts.building_cells, facts.building_count)):
        for i in range(9):
            cells[i] = int(count > 0 and rng.random() < wide)
    facts.former_ground = rng.choice(GROUNDS)
    facts.woodland_cleared = facts.former_ground == "woodland"
    return facts


def texts(rng, count):
    prompts = (language.CAPTION, language.CLASSIFY, language.COUNT, language.LOCALIZE,
               language.COUNT_FOLLOW_UP, language.DESCRIBE_FOLLOW_UP)
    for _ in range(count):
        facts = random_facts(rng)
        yield language.processed("q: " + rng.choice(prompts))
        yield language.count_answer(facts)
        yield language.localize_answer(facts)
        yield from language.captions(facts)
        for _ in range(4):
            _, question, answer = questions.ask(facts, rng)
            yield language.processed("q: " + question + " a: " + answer)
            yield answer
    yield from (f"{n} {n} {n}" for n in range(language.MAX_COUNT + 1) for _ in range(count // 40))
    yield from (f"the {c} {c}" for c in CELLS for _ in range(count // 40))


def build_llm(corpus, path):
    marked = (re.sub(r"([\[\],?'])", BOUNDARY + r"\1" + BOUNDARY, line) for line in corpus)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=marked,
        model_writer=model,
        model_type="bpe",
        vocab_size=LLM_PIECES,
        byte_fallback=True,
        split_digits=False,
        split_by_unicode_script=False,
        split_by_number=False,
        pretokenization_delimiter=BOUNDARY,
        character_coverage=1.0,
        required_chars=string.printable.strip(),
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        unk_id=0, bos_id=1, eos_id=2, pad_id=-1,
        num_threads=2,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())


def build_bert(corpus, path):
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(
        corpus,
        vocab_size=BERT_PIECES,
        min_frequency=1,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        initial_alphabet=list(string.ascii_lowercase + string.digits + string.punctuation),
        show_progress=False,
    )
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    path.write_text("".join(piece + "\n" for piece, _ in pieces))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "weights")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    corpus = list(texts(random.Random(args.seed), 3000))
    for name in ("llm", "bert"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    build_llm(corpus, args.out / "llm" / "tokenizer.model")
    build_bert(corpus, args.out / "bert" / "vocab.txt")


if __name__ == "__main__":
    main()
