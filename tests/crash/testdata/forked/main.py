"""Adds a number to every cell of a field."""

import array
import json

with open("/cube/request.json", encoding="utf-8") as f:
    request = json.load(f)
with open(request["inputs"]["first"]["file"], "rb") as f:
    data = f.read()
body = 10 + int.from_bytes(data[8:10], "little")
cells = array.array("f", data[body:])
add = request["params"]["add"]
out = array.array("f", (v + add for v in cells))
with open(request["outputs"]["forked"]["file"], "wb") as f:
    f.write(data[:body] + out.tobytes())
