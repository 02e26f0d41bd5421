"""Spoilt packets: what is made from good ones by chance."""


def mutate(dice, first, body):
    """The same, spoilt in one to three ways."""
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        how = dice.randrange(7)
        at = dice.randrange(len(body)) if body else 0
        if how == 0 and body:
            body = body[:at]
        elif how == 1:
            body += dice.randbytes(dice.randint(1, 8))
        elif how == 2:
            first ^= dice.randint(1, 15)
        elif how == 3 and body:
            body = body[:at] + dice.randbytes(dice.randint(1, 4)) + body[at + 1:]
        elif how == 4 and body:
            body = body[:at] + b"\xff\xff" + body[at + 2:]
        elif how == 5 and body:
            end = dice.randint(at, len(body))
            body = body[:end] + body[at:end] + body[end:]
        elif how == 6 and body:
            body = body[:at] + dice.choice((b"\0", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"#", b"+")) + body[at + 1:]
    if first >> 4 == 3:
        first &= 0xFE  # what is retained by accident would meet other tests
    return first, body
