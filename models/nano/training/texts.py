"""Text to token ids, for both tokenizers, as the published model does it."""

import functools
import pathlib

import sentencepiece
import torch
from tokenizers import BertWordPieceTokenizer

from scenes.language import processed

START = END = 2                  # the published code makes both `</s>`
BERT_LIMIT = 128


class Texts:
    def __init__(self, directory):
        directory = pathlib.Path(directory)
        self.llm = sentencepiece.SentencePieceProcessor(
            model_file=str(directory / "llm" / "tokenizer.model")
        )
        self.bert = BertWordPieceTokenizer(str(directory / "bert" / "vocab.txt"), lowercase=True)

    @functools.lru_cache(maxsize=200_000)
    def prompt(self, text):
        """`(llm ids, bert ids)` of a raw text that already starts with `q: `."""
        text = processed(text)
        ids = self.bert.encode(text).ids
        if len(ids) > BERT_LIMIT:
            ids = ids[:1] + ids[-(BERT_LIMIT - 1):]
        return [START] + self.llm.encode(text), ids

    @functools.lru_cache(maxsize=200_000)
    def answer(self, text):
        return self.llm.encode(text) + [END]

    def decode(self, ids):
        if END in ids:
            ids = ids[: ids.index(END)]
        return self.llm.decode([i for i in ids if i > 2]).strip()

    def batch(self, pairs):
        """Tensors for `[(question text, answer text), ...]`.

        Returns `bert_ids, bert_mask, llm_ids, targets`: targets are -100 but
        where an answer token (or the end) is to be predicted."""
        bert, llm, targets = [], [], []
        for question, answer in pairs:
            prompt, bert_ids = self.prompt(question)
            reply = self.answer(answer)
            bert.append(bert_ids)
            llm.append(prompt + reply[:-1])
            targets.append([-100] * (len(prompt) - 1) + reply)
        bert_ids = _padded(bert, 0)
        bert_mask = _padded([[1] * len(row) for row in bert], 0)
        return bert_ids, bert_mask, _padded(llm, 0), _padded(targets, -100)


def _padded(rows, filler):
    width = max(map(len, rows))
    return torch.tensor([row + [filler] * (width - len(row)) for row in rows])
