"""10,000 host set expressions and what ClusterShell makes of them.

    python3 hosts_corpus.py write      asks the ClusterShell installed here, and writes hosts_corpus.golden anew

The expressions come from a generator of its own (the same on every Python). hosts_corpus.golden keeps a digest for each block of 100 results, and every 50th
result in full; the version of ClusterShell that it came from stands in its first line.
"""
import hashlib
import os
import sys
from pathlib import Path

COUNT, BLOCK, SAMPLE = 10000, 100, 50
GOLDEN = Path(__file__).with_name("hosts_corpus.golden")

GROUPS_CONF = "[Main]\ndefault: main\nautodir: $CFGDIR/groups.d\nconfdir:\n"
GROUPS_YAML = """\
main:
    web: 'web[1-8]'
    db: 'db[01-04],db10'
    io: '@db,node[100-103]'
    compute: 'node[1-40]!node[7,9]'
    odd: 'node[1-99/2] node500'
    mixed: '@racks:rack[1-2]&r[1-9]n[1-3]'
    list:
        - 'node[1-3]'
        - 'web1'
        - '@db!db10'
    all: 'node[1-120],web[1-8],db[01-10],r[1-4]n[1-6],gateway'
racks:
    rack1: 'r1n[1-6]'
    rack2: 'r2n[1-6],r2n09'
    rack3: 'r3n[1-4]'
    rack10: 'r10n[01-12]'
    both: '@rack[1,3]'
"""


class Dice:
    """A 64-bit linear congruential generator."""
    def __init__(self, seed):
        self.state = seed * 2862933555777941757 + 3037000493 & (1 << 64) - 1

    def below(self, n):
        self.state = self.state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        return (self.state >> 33) % n

    def between(self, low, high):
        return low + self.below(high - low + 1)

    def pick(self, items):
        return items[self.below(len(items))]

    def often(self, percent):
        return self.below(100) < percent


def one_range(d, high):
    low = d.below(high)
    if d.often(40):
        return ("%0*d" % (d.between(2, 4), low)) if d.often(25) else str(low)
    top = low + d.below(max(2, high // 3))
    width = len(str(top)) + d.below(2) if d.often(30) else 0
    text = "%0*d-%0*d" % (width, low, width, top)
    return text + ("/%d" % d.between(2, 5) if d.often(15) else "")


def bracket(d, high, most=4):
    return "[" + ",".join(one_range(d, high) for _ in range(d.between(1, most))) + "]"


def flat(d):
    prefix, suffix = d.pick(["node", "n", "web", "a-", "db0", "n1", "x%", "user@n", "é"]), d.pick(["", "", "", "-ib", ".example", "-ib0", ":22"])
    if d.often(30):
        return prefix + str(d.below(130)) + suffix
    if d.often(10):
        return prefix + "[%d-%d]%s" % (d.between(1, 5), d.between(5, 12), d.pick(["0", "5", "00"])) + suffix
    return prefix + bracket(d, d.pick([10, 60, 130])) + suffix


def deep(d):
    name, high = d.pick(["r%sn%s", "r%sn%s", "r%s-c%s.x", "a%sb%sc%s", "rack%s/%s", "%s-%s"]), d.pick([4, 8, 12])
    while "%s" in name:
        name = name.replace("%s", bracket(d, high, 2) if d.often(55) else str(d.below(high)), 1)
    return name


def scattered(d):
    """Many single names with two numbers, which fold one way or another."""
    high, form = d.between(2, 14), d.pick(["r%dn%d", "r%02dn%d", "s%d-%02d"])
    return ",".join(form % (d.below(high), d.below(high)) for _ in range(d.between(5, 70)))


def group(d):
    return d.pick(["@web", "@db", "@io", "@compute", "@odd", "@mixed", "@list", "@*", "@main:web", "@racks:rack1", "@racks:rack[1-3]", "@racks:rack[2,10]", "@racks:both",
                   "@racks:*", "@all", "@@racks", "node1*", "r?n[1-3]", "db*", "*[1-2]"])


def term(d):
    kind = d.below(100)
    return flat(d) if kind < 45 else deep(d) if kind < 75 else group(d) if kind < 90 else scattered(d) if kind < 96 else d.pick(["gateway", "login", "n", "web"])


def wrong(d):
    """Something that no reader should take, on its own or in a larger expression."""
    text = d.pick(["n[1-", "n1]", "n[]", "n[3-1]", "n[01-100]", "n[1-5/0]", "n[a-b]", "n[1,,2]", "a,,b", "a!", ",a", "n[1][2]", "n[1]2[3]", "n[1-3/2]0", "n0[8-11]", "n[1-2]]",
                   "n[1-2", "n[[1]]", "&a", "a&", "a^", "n[1-x]", "@nosuch:web", "n[5/2]"])
    return text if d.often(50) else term(d) + "," + text


def expressions():
    d = Dice(20261125)
    for _ in range(COUNT):
        if d.often(6):
            yield wrong(d)
            continue
        text = term(d)
        for _ in range(d.pick([0, 0, 0, 1, 1, 2, 3, 5])):
            text += d.pick([",", ",", ",", "!", "!", "&", "^"]) + term(d)
        yield text


def write_groups(directory):
    """What the expressions' groups are; the directory is for CLUSTERSHELL_CFGDIR."""
    (directory / "groups.d").mkdir(parents=True)
    (directory / "groups.conf").write_text(GROUPS_CONF)
    (directory / "groups.d" / "corpus.yaml").write_text(GROUPS_YAML)


def clustershell(directory):
    """A function from an expression to its line; its groups are those of write_groups(directory)."""
    from ClusterShell.NodeSet import NodeSet, set_std_group_resolver_config

    set_std_group_resolver_config(str(directory / "groups.conf"))

    def line(text):
        try:
            nodes = NodeSet()
            nodes.update(NodeSet.fromlist([text]))
            return result(text, len(nodes), str(nodes), " ".join(nodes))
        except Exception:
            return refusal(text)

    return line


def result(text, count, folded, expanded):
    return "%s\t%d\t%s\t%s" % (text, count, folded, expanded)


def refusal(text):
    return text + "\terror"


def digest(lines):
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def golden():
    """The version of ClusterShell, the digests, and the samples by their number."""
    version, *lines = GOLDEN.read_text().splitlines()
    samples = {int(number): line for number, line in (line.split(" ", 1) for line in lines[COUNT // BLOCK:])}
    return version, lines[:COUNT // BLOCK], samples


def main():
    import ClusterShell
    import tempfile
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "clustershell"
        write_groups(directory)
        lines = list(map(clustershell(directory), expressions()))
    with GOLDEN.open("w") as out:
        print("ClusterShell", ClusterShell.__version__, file=out)
        for at in range(0, COUNT, BLOCK):
            print(digest(lines[at:at + BLOCK]), file=out)
        for at in range(0, COUNT, SAMPLE):
            print(at, lines[at], file=out)
    print(sum(line.endswith("\terror") for line in lines), "refused", file=sys.stderr)


if __name__ == "__main__":
    if sys.argv[1:] != ["write"]:
        sys.exit("usage: %s write" % os.path.basename(sys.argv[0]))
    main()
