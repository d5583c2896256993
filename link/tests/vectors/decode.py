#!/usr/bin/env python3
"""A second reader of the wire format, written from docs/wire-format.md alone, without any library.

Opens every vector in this folder and in messages/tests/vectors: frames (COBS, CRC-32C, AES-CCM), chunks,
alerts, texts, repairs. Usage: decode.py  (from anywhere)
"""

import json
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
MESSAGES = HERE.parent.parent.parent / "messages"
TEXT = MESSAGES / "src" / "text"


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def uncobs(block):
    assert 0 not in block and len(block) <= 254
    content, at = bytearray(block), 0
    while True:
        code = block[at]
        following = at + code
        assert following <= len(block)
        if following == len(block):
            return bytes(content[1:])
        content[following] = 0
        at = following


def gf_multiply(a, b, polynomial):
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a & 0x100:
            a ^= polynomial
        b >>= 1
    return product


def gf_invert(a, polynomial):
    return next(b for b in range(256) if gf_multiply(a, b, polynomial) == 1)


def sbox():
    box = []
    for value in range(256):
        inverse = gf_invert(value, 0x11B) if value else 0
        turned = inverse
        for _ in range(4):
            inverse = (inverse << 1 | inverse >> 7) & 0xFF
            turned ^= inverse
        box.append(turned ^ 0x63)
    return box


SBOX = sbox()


def aes128(key, block):
    words = [list(key[at : at + 4]) for at in range(0, 16, 4)]
    rcon = 1
    for index in range(4, 44):
        word = list(words[-1])
        if index % 4 == 0:
            word = [SBOX[byte] for byte in word[1:] + word[:1]]
            word[0] ^= rcon
            rcon = gf_multiply(rcon, 2, 0x11B)
        words.append([a ^ b for a, b in zip(words[-4], word)])
    round_keys = [sum(words[at : at + 4], []) for at in range(0, 44, 4)]
    state = [a ^ b for a, b in zip(block, round_keys[0])]
    for number in range(1, 11):
        state = [SBOX[state[(at + 4 * (at % 4)) % 16]] for at in range(16)]
        if number < 10:
            mixed = []
            for column in range(0, 16, 4):
                c = state[column : column + 4]
                for row in range(4):
                    mixed.append(
                        gf_multiply(c[row], 2, 0x11B)
                        ^ gf_multiply(c[(row + 1) % 4], 3, 0x11B)
                        ^ c[(row + 2) % 4]
                        ^ c[(row + 3) % 4]
                    )
            state = mixed
        state = [a ^ b for a, b in zip(state, round_keys[number])]
    return bytes(state)


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def pad(data):
    return data + bytes(-len(data) % 16)


def ccm_open(key, nonce, clear, hidden, tag):
    """RFC 3610 with M = 8, L = 2."""

    def stream(index):
        return aes128(key, bytes([1]) + nonce + index.to_bytes(2, "big"))

    message = b"".join(xor(hidden[at : at + 16], stream(at // 16 + 1)) for at in range(0, len(hidden), 16))
    flags = (64 if clear else 0) | 3 << 3 | 1
    blocks = bytes([flags]) + nonce + len(message).to_bytes(2, "big")
    if clear:
        blocks += pad(len(clear).to_bytes(2, "big") + clear)
    blocks += pad(message)
    mac = bytes(16)
    for at in range(0, len(blocks), 16):
        mac = aes128(key, xor(mac, blocks[at : at + 16]))
    assert xor(mac, stream(0))[:8] == tag
    return message


def open_frame(frame, link, key_id, key, epoch, addressee, expected):
    """Opens a frame of version 2. `link` is (craft, station); `epoch` and `expected` are what the receiver
    knows of the sender, and a greeting says both itself."""
    assert frame[-1] == 0
    content = uncobs(frame[:-1])
    control, address = content[0], content[1]
    assert control >> 6 == 2 and control & 1 == 0
    craft, station = link
    assert address == craft % 32 + station % 8 * 32
    sender, slot, protection, greeting = control >> 5 & 1, control >> 4 & 1, control >> 2 & 3, control >> 1 & 1
    size = 4 if protection == 0 else 8
    body, check = content[:-size], content[-size:]
    low = int.from_bytes(body[2:4], "little")
    start = 12 if greeting else 4
    if greeting:
        counter = low | int.from_bytes(body[4:8], "little") << 16
        epoch, addressee = int.from_bytes(body[8:12], "little"), 0
    else:
        near = ((expected & ~0xFFFF) + low + step for step in (-65536, 0, 65536))
        counter = min(near, key=lambda counter: (abs(counter - expected), counter))
    nonce = (
        craft.to_bytes(2, "little")
        + bytes([sender << 7 | station])
        + epoch.to_bytes(4, "little")
        + counter.to_bytes(6, "little")
    )
    payload = body[start:]
    if protection == 0:
        unsent = nonce + addressee.to_bytes(4, "little")
        assert check == crc32c(unsent + body).to_bytes(4, "little")
    else:
        assert slot == key_id & 1
        unsent = key_id.to_bytes(4, "little") + addressee.to_bytes(4, "little")
        if protection == 1:
            ccm_open(key, nonce, unsent + body, b"", check)
        else:
            payload = ccm_open(key, nonce, unsent + body[:start], body[start:], check)
    return sender, counter, payload


def chunks(payload):
    """Splits a payload; asserts that it ends where a chunk ends."""
    names = []
    sizes = {2: 8, 3: 4, 4: 3, 6: 5, 7: 1, 8: 8, 9: 8}
    while payload:
        first, rest = payload[0], payload[1:]
        form = first >> 6
        if form == 1:
            size, name = 3 + rest[2], f"message {first & 63}"
        elif form == 2:
            size, name = len(rest), f"message {first & 63}"
        elif form == 3:
            size, name = len(rest), f"fragment {first & 63}"
        elif 0x10 <= first <= 0x18:
            size, name = 2 + first - 0x10, "acknowledgement"
        elif first == 5:
            size, name = len(rest), "repair"
        elif first >= 0x20:
            size, name = 1 + rest[0], "unknown"
        else:
            size, name = sizes[first], f"control {first}"
        assert len(rest) >= size
        names.append(name)
        payload = rest[size:]
    return names


def alert(body):
    word = int.from_bytes(body[8:15], "little")

    def bits(start, count):
        return word >> start & (1 << count) - 1

    return {
        "tile": int.from_bytes(body[:4], "little"),
        "time": int.from_bytes(body[4:8], "little"),
        "pair": bits(0, 16),
        "roads_grid": bits(16, 9),
        "buildings_grid": bits(25, 9),
        "confidence": bits(34, 7),
        "roads": bits(41, 5),
        "buildings": bits(46, 8),
    }


class Model:
    """The tables of section 8, read from the files that are part of the document."""

    def __init__(self):
        source = (TEXT / "words.rs").read_text()
        listing = source[source.index("pub(super) const CLASSES") :]
        listing = listing[listing.index("= [") :]
        lists = re.findall(r'"([^"]*)"', listing)
        self.classes = [[(entry[:-1], 1 << int(entry[-1])) for entry in words.split()] for words in lists]
        whole = source[source.index("pub(super) const WHOLE") :]
        whole = whole[whole.index("= [") : whole.index("];")]
        self.classes[4] = [(sentence, 1) for sentence in re.findall(r'"([^"]*)"', whole)]
        self.table = (TEXT / "transitions.bin").read_bytes()
        letters = b"etaoinsrhldcumfpgwybvkxjqz0123456789-'_/.,()ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        self.spelling = [3] * 256
        for place, letter in enumerate(letters):
            self.spelling[letter] = 220 if place < 12 else 60 if place < 36 else 16
        self.spelling[0] = 600
        assert len(self.classes) == 51 and len(self.table) == 51 * 51


class Reader:
    """The arithmetic code of section 8."""

    def __init__(self, coded):
        self.bits = "".join(f"{byte:08b}" for byte in coded) + "0" * 4096
        self.low, self.high, self.at = 0, 1 << 32, 32
        self.value = int(self.bits[:32], 2)

    def symbol(self, shares):
        total, span = sum(shares), self.high - self.low
        start = 0
        for symbol, share in enumerate(shares):
            high = self.low + span * (start + share) // total
            if self.value < high:
                self.high = high
                self.low = self.low + span * start // total
                break
            start += share
        while True:
            if self.high <= 1 << 31:
                offset = 0
            elif self.low >= 1 << 31:
                offset = 1 << 31
            elif self.low >= 1 << 30 and self.high <= 3 << 30:
                offset = 1 << 30
            else:
                return symbol
            self.low, self.high = (self.low - offset) * 2, (self.high - offset) * 2
            self.value = (self.value - offset) * 2 + int(self.bits[self.at])
            self.at += 1


def text(model, coded):
    if not coded:
        return ""
    if coded[0] == 0xFF:
        return coded[1:].decode()
    reader, before, out, glue = Reader(coded), 0, "", True
    while True:
        row = model.table[51 * before : 51 * before + 51]
        kind = reader.symbol([root * root + 1 for root in row])
        if kind == 0:
            return out
        if not glue and kind != 3:
            out += " "
        glue = kind == 2
        if kind == 1:
            spelled = bytearray()
            while byte := reader.symbol(model.spelling):
                spelled.append(byte)
            out += spelled.decode()
        elif kind != 2:
            word = model.classes[kind][reader.symbol([share for _, share in model.classes[kind]])][0]
            out += word[:1].upper() + word[1:] if before == 2 else word
        before = kind


def repair(payloads, index):
    blocks = [bytes([len(payload)]) + payload for payload in payloads]
    longest = max(map(len, blocks))
    total = bytearray(longest)
    for member, block in enumerate(blocks):
        factor = gf_invert(8 + index ^ member, 0x11D)
        for at, byte in enumerate(block):
            total[at] ^= gf_multiply(byte, factor, 0x11D)
    return bytes(total)


def load(name, folder=HERE):
    return json.loads((folder / f"{name}.json").read_text())


def main():
    assert crc32c(b"123456789") == 0xE3069283
    assert aes128(bytes(range(16)), bytes.fromhex("00112233445566778899aabbccddeeff")).hex() == (
        "69c4e0d86a7b0430d8cdb78070b4c55a"
    )
    frames = load("frames")
    for vector in frames:
        frame, key = bytes.fromhex(vector["frame"]), bytes.fromhex(vector["key"])
        link = vector["craft"], vector["station"]
        known = vector["epoch"], vector["addressee"], vector["counter"] - 1000
        sender, counter, payload = open_frame(frame, link, vector["key_id"], key, *known)
        assert ["Board", "Ground"][sender] == vector["sender"] and counter == vector["counter"], vector["name"]
        assert payload.hex() == vector["payload"], vector["name"]
        chunks(payload)
    messages = load("messages", MESSAGES / "tests" / "vectors")
    first = alert(bytes.fromhex(messages[0]["body"]))
    assert first == {
        "tile": 4711, "time": 86400, "pair": 0xBEEF, "roads_grid": 7, "buildings_grid": 48, "confidence": 118,
        "roads": 1, "buildings": 12,
    }, first  # fmt: skip
    model = Model()
    texts = load("texts", MESSAGES / "tests" / "vectors")
    for vector in texts:
        assert text(model, bytes.fromhex(vector["coded"])) == vector["text"], vector["text"]
    repairs = load("repairs")
    payloads = [bytes.fromhex(payload) for payload in repairs["payloads"]]
    for index, data in enumerate(repairs["repairs"]):
        assert repair(payloads, index).hex() == data, index
    print(f"{len(frames)} frames, {len(messages)} messages, {len(texts)} texts, {len(repairs['repairs'])} repairs")


if __name__ == "__main__":
    main()
