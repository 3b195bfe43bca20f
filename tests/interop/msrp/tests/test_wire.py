"""The reader against the sample messages of RFC 4975, RFC 7701 and breaches of each rule."""

from __future__ import annotations

import unittest

from msrp.wire import ABSENT, Fault, Frame, Range, Reader, parse_path, parse_range, parse_uri

ALICE = "msrp://atlanta.example.com:7654/jshA7weztas;tcp"
BOB = "msrp://biloxi.example.com:12763/kjhd37s2s20w2a;tcp"


def lines(*parts: str) -> bytes:
    return "\r\n".join(parts).encode() + b"\r\n"


HELLO = lines("MSRP a786hjs2 SEND", f"To-Path: {BOB}", f"From-Path: {ALICE}", "Message-ID: 87652491",
              "Byte-Range: 1-25/25", "Content-Type: text/plain", "", "Hey Bob, are you there?", "-------a786hjs2$")
HELLO_OK = lines("MSRP a786hjs2 200 OK", f"To-Path: {ALICE}", f"From-Path: {BOB}", "-------a786hjs2$")
FIRST_CHUNK = lines("MSRP dkei38sd SEND", "To-Path: msrp://alicepc.example.com:7777/iau39soe2843z;tcp",
                    "From-Path: msrp://bob.example.org:8888/9di4eae923wzd;tcp", "Message-ID: 4564dpWd",
                    "Byte-Range: 1-*/8", "Content-Type: text/plain", "", "abcd", "-------dkei38sd+")
SECOND_CHUNK = lines("MSRP dkei38ia SEND", "To-Path: msrp://alicepc.example.com:7777/iau39soe2843z;tcp",
                     "From-Path: msrp://bob.example.org:8888/9di4eae923wzd;tcp", "Message-ID: 4564dpWd",
                     "Byte-Range: 5-8/8", "Content-Type: text/plain", "", "EFGH", "-------dkei38ia$")
REPORT = lines("MSRP dkei38sd REPORT", f"To-Path: {ALICE}", f"From-Path: {BOB}", "Message-ID: 12339sdqwer",
               "Byte-Range: 1-106/106", "Status: 000 200 OK", "-------dkei38sd$")
EMPTY = lines("MSRP d93kswow SEND", f"To-Path: {BOB}", f"From-Path: {ALICE}", "Message-ID: 12339sdqwer",
              "-------d93kswow$")


def read(data: bytes) -> list[Frame]:
    return Reader().feed(data)


class Samples(unittest.TestCase):
    def test_message_and_answer(self) -> None:
        message, answer = read(HELLO + HELLO_OK)
        self.assertEqual((message.method, message.tid, message.flag), ("SEND", "a786hjs2", "$"))
        self.assertEqual(message.body, b"Hey Bob, are you there?")
        self.assertEqual(str(message.to_path[0]), BOB)
        self.assertEqual((answer.code, answer.comment, answer.body), (200, "OK", None))

    def test_chunks(self) -> None:
        first, second = read(FIRST_CHUNK + SECOND_CHUNK)
        self.assertEqual((first.flag, second.flag), ("+", "$"))
        self.assertEqual(parse_range(first.get("Byte-Range")), Range(1, ABSENT, 8))

    def test_report_and_empty_send(self) -> None:
        report, empty = read(REPORT + EMPTY)
        self.assertEqual((report.method, report.get("status")), ("REPORT", "000 200 OK"))
        self.assertIsNone(empty.body)

    def test_any_cut_gives_the_same(self) -> None:
        data = HELLO + FIRST_CHUNK + HELLO_OK + SECOND_CHUNK
        for cut in range(len(data)):
            reader = Reader()
            frames = reader.feed(data[:cut]) + reader.feed(data[cut:])
            self.assertEqual([frame.encode() for frame in frames], [HELLO, FIRST_CHUNK, HELLO_OK, SECOND_CHUNK])

    def test_body_that_looks_like_an_end(self) -> None:
        body = b"\r\n-------a786hjs\r\n-------a786hjs2?\r\n\r\n-------b786hjs2$\r\nend\r\n"
        frame = read(HELLO)[0]
        frame.body = body
        self.assertEqual(read(frame.encode())[0].body, body)

    def test_empty_body_is_a_body(self) -> None:
        frame = read(HELLO)[0]
        frame.body = b""
        self.assertEqual(read(frame.encode())[0].body, b"")


class Breaches(unittest.TestCase):
    def refuses(self, *changes: tuple[str, str]) -> None:
        text = HELLO.decode()
        for old, new in changes:
            self.assertIn(old, text)
            text = text.replace(old, new)
        with self.assertRaises(Fault):
            read(text.encode())

    def test_first_line(self) -> None:
        self.refuses(("MSRP a786hjs2 SEND", "MSRP  a786hjs2 SEND"))
        self.refuses(("MSRP a786hjs2 SEND", "msrp a786hjs2 SEND"))
        self.refuses(("MSRP a786hjs2 SEND", "MSRP a786hjs2 Send"))
        self.refuses(("a786hjs2", "a78"))
        self.refuses(("a786hjs2", "-786hjs2"))
        self.refuses(("a786hjs2", "a" * 33))

    def test_headers(self) -> None:
        self.refuses(("To-Path: ", "To-Path:"))
        self.refuses(("Message-ID: 87652491", "Message-ID"))
        self.refuses(("Message-ID: 87652491", "Message-ID: 87652491\r\nMessage-ID: 87652492"))
        self.refuses(("To-Path", "X-Path"))
        self.refuses(("Content-Type: text/plain", "Content-Type: text/plain\r\nSubject: late"))
        self.refuses(("Content-Type: text/plain\r\n\r\n", "\r\n"))

    def test_uris(self) -> None:
        self.refuses((";tcp", ""))
        self.refuses((";tcp", ";udp"))
        self.refuses(("/kjhd37s2s20w2a", ""))
        self.refuses((":12763", ":99999"))
        self.assertEqual(parse_uri("MSRPS://u@[2001:db8::1]:2855/a;tcp;x=y").key, ("msrps", "[2001:db8::1]", 2855, "a"))
        self.assertEqual(len(parse_path(f"{BOB} {ALICE}")), 2)

    def test_ranges(self) -> None:
        for text in ("", "1-2", "1/2", "-1-2/3", "1-2/3 ", "a-b/c", "*-1/2"):
            with self.assertRaises(Fault):
                parse_range(text)

    def test_endless_head(self) -> None:
        with self.assertRaises(Fault):
            read(b"MSRP a786hjs2 SEND\r\nTo-Path: " + b"x" * 20000)


if __name__ == "__main__":
    unittest.main()
