"""Writes what the customary implementations say about a list of texts.

    python make_tokenizer_golden.py [--llm tokenizer.model] [--bert vocab.txt] [--out DIR]

Needs `sentencepiece`, `transformers` and `tokenizers`. Without arguments it
trains two small tokenizers first; with the files of a full model it checks
against those (the test reads another directory from DELTAVLM_TOKENIZER_GOLDEN).
"""

import argparse
import io
import json
import pathlib
import random
import re
import shutil
import tempfile

import sentencepiece
from tokenizers import BertWordPieceTokenizer
from transformers import BertTokenizerFast

HERE = pathlib.Path(__file__).parent

TEXTS = [
    "",
    " ",
    "a",
    "Please briefly describe the changes in these two images.",
    "Please judge whether these two images have changed. Please answer yes or no.",
    "Please determine how many roads and buildings have changed?",
    "Please indicate the locations where changes have occurred in the buildings and roads, using a "
    "3x3 grid (namely, 'top', 'center', and 'bottom' vertically and 'left', 'center', 'right' horizontally).",
    "roads [top-left, center-center] buildings [bottom-right]",
    "there are 2 new roads and 17 new buildings",
    "q: Are there any changes in roads or lanes? a: no  q: Is there any new construction visible in the images?",
    "  leading, trailing and   repeated   spaces  ",
    "tabs\tand\nnew lines\r\nand\x0bvertical\x1cseparators",
    "caf\u00e9 na\u00efve \u00c5ngstr\u00f6m \u0130stanbul stra\u00dfe",
    "cafe\u0301 decomposed",
    "\u9053\u8def\u548c\u5efa\u7b51\u7269 new buildings \u5728\u8fd9\u91cc",
    "\u0434\u043e\u0440\u043e\u0433\u0438 \u0438 \u0437\u0434\u0430\u043d\u0438\u044f",
    "\u0937\u0939\u0930 \u092e\u0947\u0902 \u0938\u0921\u093c\u0915",
    "emoji \U0001f6f0\ufe0f and \U0001f468\u200d\U0001f469\u200d\U0001f467 joined",
    "a\u00adsoft hyphen, a\u200bzero width space, a\u00a0no-break space, an\u3000ideographic one",
    "</s> <s> [SEP> <0x0A> are plain text here",
    "\u2581already\u2581escaped",
    "punctuation!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ \u00ab\u2026\u00bb \u2014 \u00bf",
    "x" * 101 + " " + "y" * 100,
    "word " * 200,
    "(really) new; *bold* #tag ~about: 3.5 \"quoted\" !",
    "A SHOUTED QUESTION? Yes. NO!",
    "control\x00\x01\x7fcharacters\ufffd",
    "'t 's n't isn't it's",
    "0123456789 3.14159 1,000,000",
]


def processed(text, max_words=50):
    """The published text processor (see `bundle/src/text.rs`)."""
    text = re.sub(r"([.!\"()*#:;~])", " ", text.lower())
    text = re.sub(r"\s{2,}", " ", text)
    text = text.rstrip("\n").strip(" ")
    words = text.split(" ")
    return " ".join(words[:max_words])


def train(directory):
    rng = random.Random(1)
    corpus = [processed(text) or "x" for text in TEXTS[3:12]] * 20
    words = " ".join(corpus).split(" ")
    corpus += [" ".join(rng.choices(words, k=12)) for _ in range(500)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=model, model_type="bpe", vocab_size=500,
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        unk_id=0, bos_id=1, eos_id=2, pad_id=-1, character_coverage=1.0, minloglevel=2,
    )
    (directory / "tokenizer.model").write_bytes(model.getvalue())
    bert = BertWordPieceTokenizer(lowercase=True)
    bert.train_from_iterator(corpus, vocab_size=400, min_frequency=1, show_progress=False,
                             special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    pieces = sorted(bert.get_vocab().items(), key=lambda item: item[1])
    (directory / "vocab.txt").write_text("".join(piece + "\n" for piece, _ in pieces))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--llm", type=pathlib.Path)
    parser.add_argument("--bert", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        train(scratch)
        shutil.copyfile(args.llm or scratch / "tokenizer.model", args.out / "tokenizer.model")
        shutil.copyfile(args.bert or scratch / "vocab.txt", args.out / "vocab.txt")

    llm = sentencepiece.SentencePieceProcessor(model_file=str(args.out / "tokenizer.model"))
    bert = BertTokenizerFast(vocab=str(args.out / "vocab.txt"), do_lower_case=True, truncation_side="left")
    rng = random.Random(2)
    texts = TEXTS + ["".join(rng.choices("abcdeo  .,?'-3\u00e9\u9053\U0001f6f0", k=40)) for _ in range(40)]
    cases = []
    for text in texts:
        ids = llm.encode(text)
        cases.append({
            "text": text,
            "processed": processed(text),
            "llm_ids": ids,
            "llm_text": llm.decode(ids),
            "bert_ids": bert(text, max_length=128, truncation=True)["input_ids"],
        })
    decodings = []
    for _ in range(40):
        ids = [rng.randrange(len(llm)) for _ in range(rng.randint(1, 12))]
        decodings.append({"ids": ids, "text": llm.decode(ids)})
    # Byte pieces that do not make characters.
    for data in (b"\xe9\x81", b"\xe9\x81\x93", b"a\xff\xfe", b"\xf0\x9f\x9b"):
        ids = [llm.piece_to_id(f"<0x{byte:02X}>") for byte in data]
        decodings.append({"ids": ids, "text": llm.decode(ids)})
    golden = {"cases": cases, "decodings": decodings}
    (args.out / "tokenizers.json").write_text(json.dumps(golden, indent=1, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
