# Of at most 4 GiB, should nothing hold it.
kept = []
while len(kept) < 256:
    kept.append(bytearray(b"x") * (1 << 24))
print("ESCAPED: held 4 GiB")
