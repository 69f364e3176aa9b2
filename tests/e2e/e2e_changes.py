"""A project whose agent changes things in its machine, one of its two cases failing."""

from __future__ import annotations

SUITE = """\
suite: changes
agent: {command: "python3 agent.py"}
sandbox:
  memory: 256MiB
  files: {agent.py: /workspace/agent.py}
  setup: ["mkdir -p ../srv/db && echo set-up > ../srv/db/kept && echo plain > tool"]
timeout: 5m
cases:
  - id: refund
    input: go
    world:
      run:
        - printf 'one\\ntwo\\nthree\\n' > orders.txt
        - echo call ann > notes.txt
    expect: [{answer: {contains: REFUNDED}}]
  - {id: calm, input: rest, expect: [{answer: {contains: nothing}}]}
"""

AGENT = """\
import os, sys

if "rest" in sys.stdin.read():
    print("nothing to do")
    sys.exit()
with open("orders.txt") as file:
    text = file.read()
with open("orders.txt", "w") as file:
    file.write(text.replace("two", "2"))
os.remove("notes.txt")
os.chmod("tool", 0o755)
os.mkdir("outbox")
with open("outbox/\\x1b[31mred", "w") as file:
    file.write("\\x1b]0;owned\\x07\\n")
for number in range(12):
    with open("../srv/db/%d" % number, "wb") as file:
        file.write(bytes(1024))
print("done")
"""

LINE = "changed: 16 files (-notes.txt, ~orders.txt, +outbox/\\x1b[31mred, 13 more)"

DIFF = """\
refund/1: failed  answer: expected the answer to contain "REFUNDED", found "done"
16 files: 13 added, 2 changed, 1 deleted
  + /srv/db/                       12 files, 12.0 KiB
  - /workspace/notes.txt           9 bytes
  ~ /workspace/orders.txt          14 bytes → 12 bytes
  + /workspace/outbox/\\x1b[31mred  11 bytes
  ~ /workspace/tool                6 bytes, mode 644 → 755

--- a/workspace/notes.txt
+++ /dev/null
@@ -1 +0,0 @@
-call ann

--- a/workspace/orders.txt
+++ b/workspace/orders.txt
@@ -1,3 +1,3 @@
 one
-two
+2
 three

--- /dev/null
+++ b/workspace/outbox/\\x1b[31mred
@@ -0,0 +1 @@
+\\x1b]0;owned\\x07
"""
