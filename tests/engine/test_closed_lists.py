"""abi.h, the extension and its stub are one vocabulary: a member that only one of them has fails here."""

import ast
import re
from enum import IntEnum
from pathlib import Path

import pytest

from clearway import _engine as engine

CLASSES = {
    "Reason": ("reason", "REASON_"),
    "Lane": ("lane", "LANE_"),
    "Verdict": ("verdict", "VERDICT_"),
    "Direction": ("direction", "DIRECTION_"),
    "DropReason": ("drop_reason", "DROP_"),
    "Fact": ("fact", "FACT_"),
}
OF_RUST = ("NameScope",)
"""Closed lists that no program of the kernel knows."""


def enum_of_header(root: Path, name: str) -> dict[str, int]:
    text = re.sub(r"/\*.*?\*/", "", (root / "bpf" / "abi.h").read_text(), flags=re.DOTALL)
    body = re.search(rf"\benum {name} \{{(.*?)\}}", text, re.DOTALL)
    assert body, f"no enum {name}"
    return {key: eval(value) for key, value in re.findall(r"(\w+)\s*=\s*([\d <]+)", body[1])}  # "1 << 18"


def members_of_stub(root: Path, name: str) -> dict[str, int]:
    tree = ast.parse((root / "src" / "clearway" / "_engine.pyi").read_text())
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    pairs = [(node.targets[0], node.value) for node in found.body if isinstance(node, ast.Assign)]
    return {target.id: ast.literal_eval(value) for target, value in pairs if isinstance(target, ast.Name)}


@pytest.mark.parametrize("name", CLASSES)
def test_header_extension_and_stub_have_the_same_members(root: Path, name: str) -> None:
    enum_name, prefix = CLASSES[name]
    members: type[IntEnum] = getattr(engine, name)
    held = {member.name: int(member) for member in members}
    assert {prefix + key: value for key, value in held.items()} == enum_of_header(root, enum_name)
    assert held == members_of_stub(root, name)


@pytest.mark.parametrize("name", OF_RUST)
def test_extension_and_stub_have_the_same_members(root: Path, name: str) -> None:
    members: type[IntEnum] = getattr(engine, name)
    assert {member.name: int(member) for member in members} == members_of_stub(root, name)


@pytest.mark.parametrize("name", [*CLASSES, *OF_RUST])
def test_a_list_is_numbered_from_0_without_a_gap(name: str) -> None:
    members: type[IntEnum] = getattr(engine, name)
    assert [int(member) for member in members] == list(range(len(members)))


def test_limits_are_those_of_the_header(root: Path) -> None:
    assert enum_of_header(root, "limit") == engine.LIMITS


def test_a_lane_that_no_program_counts_is_told_as_such(root: Path) -> None:
    programs = "".join(path.read_text() for path in (root / "bpf").glob("*.[ch]") if path.name != "abi.h")
    rows = [line for line in (root / "docs/vocabulary.md").read_text().splitlines() if line.startswith("| `")]
    for lane in enum_of_header(root, "lane"):
        (row,) = [row for row in rows if row.startswith(f"| `{lane.removeprefix('LANE_').lower()}` |")]
        assert ("Not counted yet" in row) != (lane in programs), row


def test_the_stub_names_all_that_the_extension_has(root: Path) -> None:
    tree = ast.parse((root / "src" / "clearway" / "_engine.pyi").read_text())
    stub = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    public = {name for name in vars(engine) if not name.startswith("_")}
    assert public == {*stub, "LIMITS", "ABSENCES"}
    for name, node in stub.items():
        if isinstance(node, ast.ClassDef) and name not in (*CLASSES, *OF_RUST):
            assert public_names(getattr(engine, name)) == stub_names(node), name


def public_names(held: type) -> set[str]:
    return {name for name in vars(held) if not name.startswith("_")}


def stub_names(node: ast.ClassDef) -> set[str]:
    functions = {item.name for item in node.body if isinstance(item, ast.FunctionDef) and not item.name.startswith("_")}
    fields = [item.target for item in node.body if isinstance(item, ast.AnnAssign)]
    return functions | {field.id for field in fields if isinstance(field, ast.Name)}
