"""Each rule sees its breach, and none sees one in what is right."""

from __future__ import annotations

import unittest

from msrp import bodies, sdp
from msrp.rules import ABSENT, Limits, Sent, Whole, path_faults, report_faults, response_faults, send_faults
from msrp.tests.test_wire import ALICE, BOB, HELLO, HELLO_OK, REPORT, read
from msrp.wire import Fault, Frame, parse_uri

OFFER = "\r\n".join([
    "v=0", "o=alice 2890844526 2890844526 IN IP4 alicepc.example.com", "s= ", "c=IN IP4 alicepc.example.com", "t=0 0",
    "m=message 7394 TCP/MSRP *", "a=accept-types:message/cpim text/plain text/html",
    "a=path:msrp://alicepc.example.com:7394/2s93i93idj;tcp", ""])
CPIM = (b"From: MR SANDERS <im:piglet@100akerwood.com>\r\nTo: Depressed Donkey <im:eeyore@100akerwood.com>\r\n"
        b"DateTime: 2000-12-13T13:40:00-08:00\r\nSubject: the weather will be fine today\r\n"
        b"NS: MyFeatures <mid:MessageFeatures@id.foo.com>\r\nRequire: MyFeatures.VitalMessageOption\r\n"
        b"MyFeatures.VitalMessageOption: Confirmation-requested\r\n\r\n"
        b"Content-type: text/xml; charset=utf-8\r\nContent-ID: <1234567890@foo.com>\r\n\r\n"
        b"<body>Here is the text</body>")


def hello(**changes: str) -> Frame:
    """The RFC's sample with its count put right (it says 25 of 23 octets); a header given as "" goes."""
    frame = read(HELLO)[0]
    wanted = {"Byte-Range": "1-23/23", **{name.replace("_", "-"): value for name, value in changes.items()}}
    kept = {name: value for name, value in frame.headers} | wanted
    frame.headers = [(name, value) for name, value in kept.items() if value and name != "Content-Type"]
    frame.headers.append(("Content-Type", kept["Content-Type"]))
    return frame


class Sends(unittest.TestCase):
    limits = Limits(("text/plain",))

    def faults(self, frame: Frame, known: dict[str, Whole] | None = None) -> list[str]:
        return send_faults(frame, self.limits, known or {})

    def test_good(self) -> None:
        self.assertEqual(self.faults(hello()), [])
        self.assertEqual(self.faults(hello(Byte_Range="1-*/*")), [])
        self.assertEqual(self.faults(hello(Success_Report="yes", Failure_Report="partial")), [])

    def test_sample_counts_wrong(self) -> None:
        self.assertTrue(self.faults(read(HELLO)[0]))

    def test_each_breach(self) -> None:
        for changes in ({"Message_ID": ""}, {"Message_ID": "a b"}, {"Byte_Range": ""}, {"Byte_Range": "0-22/23"},
                        {"Byte_Range": "1-22/23"}, {"Byte_Range": "1-23/22"}, {"Byte_Range": "1-23/24"},
                        {"Byte_Range": "2-24/24"}, {"Success_Report": "maybe"}, {"Failure_Report": "never"},
                        {"Content_Type": "text/html"}, {"Status": "000 200 OK"}):
            self.assertTrue(self.faults(hello(**changes)), changes)

    def test_size_limits(self) -> None:
        frame = hello(Byte_Range="1-3000/3000")
        frame.body = b"x" * 3000
        self.assertTrue(self.faults(frame))
        frame = hello(Byte_Range="1-*/3000")
        frame.body = b"x" * 3000
        self.assertEqual(self.faults(frame), [])
        self.assertTrue(send_faults(frame, Limits(("text/plain",), max_size=2999), {}))

    def test_sequels(self) -> None:
        before = {"87652491": Whole(total=33, end=10, content="text/plain")}
        self.assertEqual(self.faults(hello(Byte_Range="11-33/33"), before), [])
        for changes in ({"Byte_Range": "12-34/34"}, {"Byte_Range": "11-33/99"},
                        {"Byte_Range": "11-33/33", "Content_Type": "text/plain;charset=UTF-8"},
                        {"Byte_Range": "11-33/33", "Success_Report": "yes"}):
            self.assertTrue(self.faults(hello(**changes), before), changes)

    def test_paths(self) -> None:
        self.assertEqual(path_faults(hello(), parse_uri(BOB), parse_uri(ALICE)), [])
        self.assertTrue(path_faults(hello(), parse_uri(BOB.replace("kjhd", "KJHD")), parse_uri(ALICE)))
        self.assertTrue(path_faults(hello(), parse_uri(ALICE), parse_uri(BOB)))


class Answers(unittest.TestCase):
    def test_response(self) -> None:
        answer = read(HELLO_OK)[0]
        self.assertEqual(response_faults(answer, hello()), [])
        self.assertTrue(response_faults(answer, None))
        self.assertTrue(response_faults(answer, hello(Failure_Report="no")))
        self.assertTrue(response_faults(answer, hello(Failure_Report="partial")))
        self.assertTrue(response_faults(answer, hello(From_Path=BOB)))
        answer.code = 299
        self.assertTrue(response_faults(answer, hello()))

    def test_report(self) -> None:
        report = read(REPORT)[0]
        self.assertEqual(report_faults(report, Sent(106, "yes", "yes")), [])
        self.assertTrue(report_faults(report, Sent(105, "yes", "yes")))
        self.assertTrue(report_faults(report, Sent(106, "no", "yes")))
        self.assertTrue(report_faults(report, None))
        report.headers[-1] = ("Status", "000 413 Stop")
        self.assertEqual(report_faults(report, Sent(106, "no", "yes")), [])
        self.assertTrue(report_faults(report, Sent(106, "yes", "no")))


class Descriptions(unittest.TestCase):
    def test_sample(self) -> None:
        found = sdp.read(OFFER.encode())
        self.assertEqual((str(found.path[0]), found.accept, found.secure),
                         ("msrp://alicepc.example.com:7394/2s93i93idj;tcp",
                          ("message/cpim", "text/plain", "text/html"), False))

    def test_own_come_back(self) -> None:
        mine = sdp.Description([parse_uri("msrps://10.0.0.1:2855/abc;tcp")], ("text/plain",), ("text/html",), 99,
                               "passive", "AB:CD", ("nickname",), True, 2855)
        found = sdp.read(sdp.write(mine, "10.0.0.1", "1"))
        self.assertEqual((found.path, found.wrapped, found.max_size, found.setup, found.chatroom, found.fingerprint),
                         (mine.path, mine.wrapped, 99, "passive", ("nickname",), "SHA-256 AB:CD"))

    def test_breaches(self) -> None:
        for old, new in (("m=message 7394", "m=message 7395"), ("a=path:msrp:", "a=path:msrps:"), ("MSRP *", "MSRP 0"),
                         (":7394/", "/"), ("a=accept-types:message/cpim text/plain text/html\r\n", ""),
                         ("t=0 0\r\n", ""), ("TCP/MSRP", "TCP/TLS/MSRP"), ("m=message", "m=audio"),
                         ("s= \r\n", "s=\r\n"), ("a=path:msrp://alicepc.example.com:7394/2s93i93idj;tcp\r\n", "")):
            with self.assertRaises(Fault, msg=new):
                sdp.read(OFFER.replace(old, new).encode())


class Bodies(unittest.TestCase):
    def test_sample_wrapper(self) -> None:
        found = bodies.unwrap(CPIM)
        self.assertEqual(found.uri("From"), "im:piglet@100akerwood.com")
        self.assertEqual((found.kind, found.body), ("text/xml; charset=utf-8", b"<body>Here is the text</body>"))
        self.assertEqual(bodies.unwrap(found.encode()).body, found.body)

    def test_breaches_of_wrappers(self) -> None:
        for old, new in ((b"From: MR SANDERS <im:piglet@100akerwood.com>\r\n", b""),
                         (b"NS: MyFeatures ", b"NS: Others "),
                         (b"T13:40", b" 13:40"), (b"Content-type: text/xml; charset=utf-8\r\n", b""),
                         (b"<im:eeyore@100akerwood.com>", b"im:eeyore@100akerwood.com"), (b"\r\n\r\n", b"\r\n")):
            with self.assertRaises(Fault, msg=str(new)):
                bodies.unwrap(CPIM.replace(old, new))

    def test_notifications(self) -> None:
        wanted = bodies.Disposition("34jk324j", "display", "displayed")
        self.assertEqual(bodies.read_imdn(bodies.imdn(wanted, "im:bob@example.com")), wanted)
        for text in (b"<imdn/>", b"no xml", bodies.imdn(wanted, "x").replace(b"<datetime>", b"<datetime>x")):
            with self.assertRaises(Fault):
                bodies.read_imdn(text)
        wish = bodies.wrap("im:a@b.c", "im:d@e.f", b"x", "text/plain", "display").encode()
        with self.assertRaises(Fault):
            bodies.unwrap(wish)

    def test_composing(self) -> None:
        self.assertEqual(bodies.read_composing(bodies.composing("active", 60)), "active")
        self.assertEqual(bodies.read_composing(bodies.composing("idle")), "idle")
        with self.assertRaises(Fault):
            bodies.read_composing(bodies.composing("active", 10))


class Ranges(unittest.TestCase):
    def test_whole(self) -> None:
        whole = Whole(total=6, parts={4: b"def", 1: b"abc"})
        self.assertEqual(whole.text(), b"abcdef")
        self.assertIsNone(Whole(total=6, parts={5: b"ef", 1: b"abc"}).text())
        self.assertIsNone(Whole(total=7, parts={4: b"def", 1: b"abc"}).text())
        self.assertEqual(Whole(total=ABSENT, parts={1: b"abcd", 3: b"CDE"}).text(), b"abCDE")


if __name__ == "__main__":
    unittest.main()
