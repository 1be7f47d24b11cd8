#!/usr/bin/env python3
"""Records conversations of Python's own asynchat, for the tests to replay without Python.

    python3 tests/golden/record.py

writes traces.txt, next to this file. It writes the same file again, byte for byte: the seed is
fixed, and nothing depends on time, addresses or hashes. CPython 3.11 is the last version that has
asynchat.

Each case is a terminator, a list of reads, and a script of the handler's actions. It is played
twice. First, `asynchat.async_chat` plays it as it is, over a socket that returns the reads. Then
`Revised` plays it, a subclass in which each deliberate difference of the crate from asynchat is a
switch. With all switches off it must do what asynchat does, in every case, or the recording fails.
So it differs only by the switches. With all switches on, its trace is what the crate promises. If
the two traces differ, the case is tagged with the smallest set of switches that explains the
promise.
"""

import itertools
import pathlib
import random
import sys
import warnings

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import asynchat
        import asyncore
except ImportError:
    version = "%d.%d" % sys.version_info[:2]
    sys.exit(f"record.py: needs a Python with asynchat, which is 3.11 or older; this is {version}")

SEED = 20230601
TARGET = pathlib.Path(__file__).with_name("traces.txt")

# In the order in which they are preferred as an explanation.
DIFFERENCES = (
    "LostTail",
    "ParsesOnAfterClose",
    "PushAfterCloseIsRefused",
    "DropsOutputAtEof",
    "CountResetWins",
    "SetInCollectIsImmediate",
    "DiscardKeepsClose",
    "SendsBeforeReading",
    "CountOfZeroIsAMessage",
)

HEADER = """\
# Conversations of Python's asynchat, one a line. Written by record.py; do not edit.
# Recorded with CPython {version}.
#
# A line: PACE TERMINATOR READS SCRIPT TRACE [DIFFERENCES TRACE]
#
# Bytes are in hexadecimal. An empty list is a dot, and so is an empty byte string in a trace.
# PACE: how asynchat's socket took output. "prompt": all of it before the next read. "slow": three
#   bytes at most in each send, and one send after each read.
# TERMINATOR: bBYTES, nCOUNT, or a dash for none.
# READS: what each read returned, with commas between them; then comes the end of the stream.
# SCRIPT: CALL=ACTION+ACTION, with commas between them. CALL: f0 is the first found_terminator,
#   c0 the first collect_incoming_data. ACTION: tTERMINATOR, set_terminator; pBYTES, push;
#   rSIZE:BYTES, push_with_producer of a simple_producer of this buffer size; q, close_when_done;
#   d, discard_buffers.
# TRACE: MESSAGES/LEFTOVER/OUTPUT/REFUSED/END
#   MESSAGES: for each found_terminator BYTES@TERMINATOR, with semicolons between them: what was
#     collected since the last one, and what get_terminator() said in it before the script acted.
#     There a count of 0, an empty byte string and none are all a dash: they mean the same.
#   LEFTOVER: what was collected behind the last message. OUTPUT: all that was sent.
#   REFUSED: how many pushes failed because close_when_done had been called.
#   END: "closed" by the handler, "eof" of the peer, or "crashed" with a TypeError.
# DIFFERENCES: names, with plus signs between them. The second TRACE is what the crate promises
#   instead; without these two fields it promises the first.
"""


# --- What a case is made of.


class Case:
    """A conversation, without its result."""

    def __init__(self, pace, terminator, reads, script):
        self.pace = pace
        self.terminator = terminator
        self.reads = reads
        # From "f0" or "c0" to a list of actions, each a tuple of its letter and its arguments.
        self.script = script

    def __str__(self):
        reads = ",".join(hexadecimal(read) for read in self.reads) or "."
        script = ",".join(
            f"{call}={'+'.join(map(action_text, actions))}"
            for call, actions in self.script.items()
        )
        return f"{self.pace} {terminator_text(self.terminator)} {reads} {script or '.'}"


def hexadecimal(data):
    return data.hex() or "."


def terminator_text(terminator):
    if terminator is None:
        return "-"
    if isinstance(terminator, int):
        return f"n{terminator}"
    return f"b{terminator.hex()}"


def action_text(action):
    kind, *arguments = action
    if kind == "t":
        return f"t{terminator_text(*arguments)}"
    if kind == "p":
        return f"p{arguments[0].hex()}"
    if kind == "r":
        return f"r{arguments[1]}:{arguments[0].hex()}"
    return kind


# --- How a case is played.


class FakeSocket:
    """The parts of a socket that asyncore uses."""

    def __init__(self, reads, most_per_send):
        self.reads = list(reads)
        self.most_per_send = most_per_send
        self.output = b""

    def setblocking(self, flag):
        pass

    def fileno(self):
        return 3

    def getpeername(self):
        return ("peer", 0)

    def recv(self, size):
        return self.reads.pop(0) if self.reads else b""

    def send(self, data):
        taken = data[: self.most_per_send]
        self.output += taken
        return len(taken)

    def close(self):
        pass


class Recorder(asynchat.async_chat):
    """asynchat as it is. The handler notes what it is told, and follows a script."""

    def __init__(self, case):
        self.case = case
        self.calls = {"c": 0, "f": 0}
        self.messages = []
        self.collected = b""
        self.refused = 0
        self.end = None
        self.receiving = False
        slow = case.pace == "slow"
        super().__init__(FakeSocket(case.reads, 3 if slow else None), {})
        self.set_terminator(case.terminator)

    def collect_incoming_data(self, data):
        self.collected += data
        self.act("c")

    def found_terminator(self):
        self.messages.append((self.collected, self.get_terminator() or None))
        self.collected = b""
        self.act("f")

    def act(self, callback):
        call = f"{callback}{self.calls[callback]}"
        self.calls[callback] += 1
        for kind, *arguments in self.case.script.get(call, ()):
            if kind == "t":
                self.set_terminator(*arguments)
            elif kind == "p":
                self.push(*arguments)
            elif kind == "r":
                self.push_with_producer(asynchat.simple_producer(*arguments))
            elif kind == "q":
                self.close_when_done()
            else:
                self.discard_buffers()

    def recv(self, size):
        self.receiving = True
        try:
            return super().recv(size)
        finally:
            self.receiving = False

    def handle_close(self):
        # recv itself calls this at the end of the stream.
        self.end = self.end or ("eof" if self.receiving else "closed")
        self.close()

    def handle_error(self):
        error = sys.exc_info()[1]
        if "unsupported operand type(s) for -" not in str(error):
            raise error
        self.end = "crashed"
        self.close()

    def trace(self):
        messages = ";".join(
            f"{hexadecimal(data)}@{terminator_text(terminator)}"
            for data, terminator in self.messages
        )
        data = f"{hexadecimal(self.collected)}/{hexadecimal(self.socket.output)}"
        return f"{messages or '.'}/{data}/{self.refused}/{self.end}"


class Revised(Recorder):
    """asynchat with some of the differences. With all of them it does what the crate promises."""

    def __init__(self, case, differences):
        self.differences = frozenset(differences)
        self.times_set = 0
        self.parsing = False
        # A count of 0 was set, and its empty message was not told yet.
        self.is_empty_due = False
        super().__init__(case)

    def is_closing(self):
        return self.end == "closed" or None in self.producer_fifo

    def is_deaf(self):
        return "ParsesOnAfterClose" in self.differences and self.is_closing()

    def readable(self):
        return not self.is_deaf()

    def set_terminator(self, terminator):
        self.times_set += 1
        is_zero = terminator == 0 and terminator is not None
        self.is_empty_due = is_zero and "CountOfZeroIsAMessage" in self.differences
        super().set_terminator(terminator)

    def tell_empty_messages(self):
        """Empty messages need no input, so they come before it is read."""
        self.parsing = True
        while self.is_empty_due and not self.is_deaf():
            self.parse()
        self.parsing = False
        if "SendsBeforeReading" in self.differences:
            self.send_all()

    def handle_read(self):
        if self.is_empty_due:
            self.tell_empty_messages()
            if self.is_deaf():
                return
        data = self.recv(self.ac_in_buffer_size)
        self.ac_in_buffer += data
        self.parsing = True
        while (self.ac_in_buffer or self.is_empty_due) and not self.is_deaf() and self.parse():
            pass
        if not data and self.ac_in_buffer and not self.is_deaf():
            self.end_with_tail()
        self.parsing = False
        if "SendsBeforeReading" in self.differences:
            self.send_all()
        if not data and "DropsOutputAtEof" in self.differences:
            self.send_all()
            if self.end is None:
                self.end = "eof"
                self.close()

    def parse(self):
        """Goes on to the next callback or two. Returns False if it must read more first."""
        if self.is_empty_due:
            self.is_empty_due = False
            self.terminator = 0
            self.found_terminator()
            return True
        terminator = self.terminator
        if not terminator:
            self.deliver(len(self.ac_in_buffer))
            return True
        if isinstance(terminator, int):
            return self.parse_count(terminator)
        return self.parse_bytes(terminator)

    def parse_count(self, count):
        # asynchat can make a count negative, and slices with it.
        size = len(self.ac_in_buffer)
        is_whole = size >= count
        keeps_what_is_set = "CountResetWins" in self.differences
        if keeps_what_is_set:
            self.terminator = max(0, count - size)
        self.deliver(count if is_whole else size)
        if not keeps_what_is_set:
            self.terminator = 0 if is_whole else self.terminator - size
        if is_whole and not self.is_deaf():
            self.found_terminator()
        return True

    def parse_bytes(self, terminator):
        index = self.ac_in_buffer.find(terminator)
        is_found = index != -1
        if not is_found:
            held_back = asynchat.find_prefix_at_end(self.ac_in_buffer, terminator)
            index = len(self.ac_in_buffer) - held_back
        times_set = self.times_set
        if index > 0:
            self.deliver(index)
        if "SetInCollectIsImmediate" in self.differences and self.times_set != times_set:
            return True
        if is_found and not self.is_deaf():
            self.ac_in_buffer = self.ac_in_buffer[len(terminator) :]
            self.found_terminator()
        return is_found

    def deliver(self, size):
        data, self.ac_in_buffer = self.ac_in_buffer[:size], self.ac_in_buffer[size:]
        self.collect_incoming_data(data)

    def end_with_tail(self):
        if "LostTail" in self.differences:
            self.deliver(len(self.ac_in_buffer))

    def initiate_send(self):
        if not (self.parsing and "SendsBeforeReading" in self.differences):
            super().initiate_send()

    def send_all(self):
        while self.producer_fifo and self.connected:
            self.initiate_send()

    def push(self, data):
        if not self.refuses():
            super().push(data)

    def push_with_producer(self, producer):
        if not self.refuses():
            super().push_with_producer(producer)

    def refuses(self):
        refuses = "PushAfterCloseIsRefused" in self.differences and self.is_closing()
        self.refused += refuses
        return refuses

    def discard_buffers(self):
        keeps_close = "DiscardKeepsClose" in self.differences and self.is_closing()
        super().discard_buffers()
        if keeps_close:
            self.producer_fifo.append(None)

    def handle_close(self):
        # There may be output yet: handle_read sees to the end.
        if not (self.receiving and "DropsOutputAtEof" in self.differences):
            super().handle_close()


def play(chat):
    """asyncore.loop without its select: the socket can always be read and written."""
    while chat.end is None:
        if chat.readable():
            asyncore.read(chat)
        writes = 1 if chat.case.pace == "slow" else sys.maxsize
        while writes and chat.end is None and chat.writable():
            asyncore.write(chat)
            writes -= 1
    return chat.trace()


# --- Which cases are played.

TERMINATORS = (
    b"a", b"\n", b"\r\n", b"\r\n", b"aa", b"ab", b"aab", b"aba", b"abab", b"aaab", b"\r\n.\r\n",
)  # fmt: skip


class Author:
    """Makes up cases."""

    def __init__(self, random):
        self.random = random

    def one_in(self, number):
        return self.random.randrange(number) == 0

    def pick_terminator(self, simple=False):
        """A simple terminator never holds bytes back, so pieces are cut where reads are."""
        kind = self.random.randrange(30)
        if kind < 18:
            choices = [term for term in TERMINATORS if not simple or len(term) == 1]
            return self.random.choice(choices)
        if kind < 27:
            return self.random.randrange(1, 10)
        return (None, b"", 0)[kind - 27]

    def pick_data(self, longest):
        return bytes(self.random.choice(b"hijk") for _ in range(self.random.randint(0, longest)))

    def pick_action(self, terminators):
        kind = self.random.choice("ttttttttpppppprrrqqddd")
        if kind == "t":
            return ("t", self.random.choice(terminators))
        if kind == "p":
            return ("p", self.pick_data(6))
        if kind == "r":
            return ("r", self.pick_data(7), self.random.randint(1, 4))
        return (kind,)

    def pick_script(self, terminators, acts_in_collect):
        script = {}
        for call in range(self.random.randrange(5)):
            if not self.one_in(3):
                actions = self.random.choice((1, 1, 1, 2, 3))
                script[f"f{call}"] = [self.pick_action(terminators) for _ in range(actions)]
        if acts_in_collect:
            for call in sorted(self.random.sample(range(4), self.random.randint(1, 2))):
                action = self.pick_action(terminators)
                script[f"c{call}"] = [action]
                if action[0] == "t" and any(isinstance(term, bytes) for term in terminators):
                    # It may give the old terminator's bytes back, as a piece of their own: from
                    # here on pieces cannot be counted.
                    break
        return script

    def pick_stream(self, terminators):
        """Whole terminators, beginnings of some, and letters of the same alphabet."""
        needles = [term for term in terminators if isinstance(term, bytes) and term] or [b"ab"]
        alphabet = b"".join(sorted(set(needles))) + b"xx"
        stream = b""
        for _ in range(self.random.randrange(1, 10)):
            needle = self.random.choice(needles)
            kind = self.random.randrange(5)
            if kind < 2:
                stream += needle
            elif kind == 2:
                stream += needle[: self.random.randint(0, len(needle))]
            else:
                letters = self.random.randint(1, 4)
                stream += bytes(self.random.choice(alphabet) for _ in range(letters))
        # Most streams end as they should, so that most cases are told alike.
        return stream + needles[0] if self.random.randrange(4) else stream

    def pick_reads(self, stream):
        style = self.random.randrange(4)
        if style == 0:
            cuts = []
        elif style == 1:
            cuts = range(1, len(stream))
        else:
            cuts = [at for at in range(1, len(stream)) if self.one_in(style + 1)]
        ends = [0, *cuts, len(stream)]
        return [stream[begin:end] for begin, end in itertools.pairwise(ends) if begin < end]

    def write(self, acts_in_collect, is_cut):
        """Where callbacks of data are counted, they must be told alike: either all is one read, or
        reads are cut and no terminator can span two."""
        simple = acts_in_collect and is_cut
        terminators = [self.pick_terminator(simple) for _ in range(self.random.randint(1, 3))]
        stream = self.pick_stream(terminators)
        reads = self.pick_reads(stream) if is_cut else [stream] if stream else []
        script = self.pick_script(terminators, acts_in_collect)
        pace = "slow" if self.one_in(5) else "prompt"
        return Case(pace, terminators[0], reads, script)


def write_cases():
    """All cases, no two alike."""
    author = Author(random.Random(SEED))
    kinds = ((2200, False, True), (500, True, False), (500, True, True))
    cases = {}
    for number, acts_in_collect, is_cut in kinds:
        enough = len(cases) + number
        while len(cases) < enough:
            case = author.write(acts_in_collect, is_cut)
            cases.setdefault(str(case), case)
    return cases.values()


def explain(case, promised):
    """The smallest set of differences that makes asynchat do what is promised."""
    for size in range(len(DIFFERENCES) + 1):
        for differences in itertools.combinations(DIFFERENCES, size):
            if play(Revised(case, differences)) == promised:
                return differences
    raise AssertionError("all of them together make the promise")


def record(case, counts):
    recorded = play(Recorder(case))
    revised = play(Revised(case, ()))
    if revised != recorded:
        sys.exit(f"record.py: not asynchat's own behaviour: {case} {recorded} {revised}")
    promised = play(Revised(case, DIFFERENCES))
    line = f"{case} {recorded}"
    if promised == recorded:
        return line
    differences = explain(case, promised)
    for difference in differences:
        counts[difference] += 1
    return f"{line} {'+'.join(differences)} {promised}"


def main():
    counts = dict.fromkeys(DIFFERENCES, 0)
    lines = [record(case, counts) for case in write_cases()]
    header = HEADER.format(version="%d.%d" % sys.version_info[:2])
    TARGET.write_text(header + "\n".join(lines) + "\n", encoding="ascii", newline="\n")
    print(f"{len(lines)} cases")
    for difference, count in counts.items():
        print(f"{count:5} {difference}")


if __name__ == "__main__":
    main()
