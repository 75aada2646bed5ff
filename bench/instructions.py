"""Compares runs of bench/instructions.sh with the committed figures, or with --accept writes them."""

import json
import sys

LIMIT = 3.0
runs, committed, rustc, *options = sys.argv[1:]

counted = {}
for line in open(runs, encoding="utf-8"):
    name, count = line.split()
    counted[name] = min(int(count), counted.get(name, int(count)))
if not all(counted.values()):
    sys.exit("nothing was counted")

if options == ["--accept"]:
    with open(committed, "w", encoding="utf-8") as file:
        json.dump({"rustc": rustc, "instructions": counted}, file, indent=2)
        file.write("\n")
    print(f"{len(counted)} figures written")
    sys.exit()

known = json.load(open(committed, encoding="utf-8"))
if known["rustc"] != rustc:
    print(f"counted with {known['rustc']}, this is {rustc}: differences may be the compiler's")
bad = known["instructions"].keys() ^ counted.keys()
for name, count in counted.items():
    before = known["instructions"].get(name)
    if before is None:
        print(f"{name:32}{count:>14,}  new: --accept")
        continue
    change = 100 * (count / before - 1)
    off = abs(change) > LIMIT
    if off:
        bad.add(name)
    print(f"{name:32}{before:>14,}{count:>14,}{change:>+8.2f} %{'  CHANGED' if off else ''}")
for name in known["instructions"].keys() - counted.keys():
    print(f"{name:32} is no longer counted: --accept")
sys.exit(1 if bad else 0)
