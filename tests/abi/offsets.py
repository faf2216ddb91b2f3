#!/usr/bin/env python3
"""Checks the plugin interface's structs against tests/abi/vim-1.txt.

usage: offsets.py fields HEADER...             the fields of all structs in the headers, as C lines
       offsets.py compare RECORDED DUMPED      fails on anything but appended fields
       offsets.py selftest RECORDED            does compare notice what it has to notice?
"""
import re
import sys
import tempfile


def fields(headers):
    """Lines `FIELD(struct, field)` and `SIZE(struct)` for a C program that prints the offsets."""
    for header in headers:
        text = re.sub(r"/\*.*?\*/", "", open(header).read(), flags=re.S)
        text = re.sub(r"^\s*#.*(\\\n.*)*$", "", text, flags=re.M)
        for name, body in re.findall(r"\bstruct\s+(vim_\w+)\s*\{(.*?)\n\};", text, flags=re.S):
            for declaration in body.split(";"):
                declaration = declaration.strip()
                if not declaration:
                    continue
                function = re.search(r"\(\s*\*\s*(\w+)\s*\)", declaration)
                plain = re.search(r"(\w+)\s*(\[[^\]]*\])?$", declaration)
                field = function.group(1) if function else plain.group(1)
                print(f"FIELD({name}, {field})")
            print(f"SIZE({name})")


def read(path):
    structs, sizes = {}, {}
    for line in open(path):
        words = line.split()
        if len(words) == 4 and words[0] != "#":
            struct, field, offset, size = words
            structs.setdefault(struct, []).append((field, int(offset), int(size)))
        elif len(words) == 2 and words[0] != "#":
            sizes[words[0]] = int(words[1])
    return structs, sizes


def compare(recorded_path, dumped_path):
    recorded, recorded_sizes = read(recorded_path)
    dumped, dumped_sizes = read(dumped_path)
    wrong = []
    for struct, was in recorded.items():
        now = dumped.get(struct)
        if now is None:
            wrong.append(f"struct {struct} is gone")
            continue
        for index, field in enumerate(was):
            if index >= len(now) or now[index] != field:
                found = now[index] if index < len(now) else "nothing"
                wrong.append(f"struct {struct}: field {field} was recorded, {found} is there")
        for field, offset, size in now[len(was):]:
            if offset < was[-1][1] + was[-1][2]:
                wrong.append(f"struct {struct}: {field} is not appended")
        if dumped_sizes[struct] < recorded_sizes[struct]:
            wrong.append(f"struct {struct} has shrunk")
    for line in wrong:
        print(line)
    new = [f"{struct}.{field[0]}" for struct, now in dumped.items()
           for field in now[len(recorded.get(struct, [])):]]
    if new:
        print("appended, to be recorded by the target abi-record:", " ".join(new))
    return 1 if wrong else 0


def selftest(path):
    """Doctors the record in each forbidden way, and in the one that is allowed."""
    lines = open(path).read().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("vim_item id "))
    struct, field, offset, size = lines[at].split()
    end = next(i for i, line in enumerate(lines) if line.startswith("vim_item ") and len(line.split()) == 2)
    total = int(lines[end].split()[1])
    appended = [f"vim_item later {total} 8", f"vim_item {total + 8}"]
    cases = [
        (0, lines),
        (0, lines[:end] + appended + lines[end + 1:]),
        (1, lines[:at] + lines[at + 1:]),
        (1, lines[:at] + [f"{struct} {field} {int(offset) + 8} {size}"] + lines[at + 1:]),
        (1, lines[:at] + [f"{struct} {field} {offset} 4"] + lines[at + 1:]),
        (1, lines[:at] + [f"{struct} renamed {offset} {size}"] + lines[at + 1:]),
        (1, [line for line in lines if not line.startswith("vim_item ")]),
    ]
    failed = 0
    for number, (expected, doctored) in enumerate(cases):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("\n".join(doctored) + "\n")
            file.flush()
            if compare(path, file.name) != expected:
                print(f"case {number}: expected {expected}")
                failed = 1
    return failed


if sys.argv[1] == "fields":
    fields(sys.argv[2:])
elif sys.argv[1] == "compare":
    sys.exit(compare(sys.argv[2], sys.argv[3]))
elif sys.argv[1] == "selftest":
    sys.exit(selftest(sys.argv[2]))
else:
    sys.exit(__doc__)
