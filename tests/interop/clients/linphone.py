"""Debian's liblinphone without windows or sound: linphone.py USER REGISTRAR HOST PORT FOLDER (see lines.py).

It registers over UDP, writes and reads page-mode messages and typing, and asks for and sends IMDN as Linphone does:
`receipt PEER TEXT` when a text was delivered to the other user, `displayed PEER TEXT` when it was read.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import CFUNCTYPE, c_char_p, c_int, c_void_p
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from lines import Commands, bare, tell  # noqa: E402

ITERATE = 0.02
CONFIG = """[sip]
bind_address={host}
default_proxy=-1
register_only_when_network_is_up=0
keepalive_period=0
zrtp_cache_migration_done=1
[net]
firewall_policy=none
enable_nat_helper=0
[misc]
version_check_url_root=
uuid=
[storage]
uri={folder}/chats.db
[call_logs]
uri=null
[friends]
uri=null
[sound]
playback_dev_id=
[app]
publish_presence=0
"""
REGISTERED, REFUSED = 2, 4
# LinphoneChatMessageState: what each tells about a message of ours
STATES = {2: ("final", "200"), 3: ("final", "failed"), 6: ("receipt", ""), 7: ("displayed", "")}

lib = ctypes.CDLL("liblinphone.so.10")
REGISTRATION = CFUNCTYPE(None, c_void_p, c_void_p, c_int, c_char_p)
MESSAGE = CFUNCTYPE(None, c_void_p, c_void_p, c_void_p)
COMPOSING = CFUNCTYPE(None, c_void_p, c_void_p)
MESSAGE_STATE = CFUNCTYPE(None, c_void_p, c_int)
POINTERS = ("factory_get", "factory_create_core_3", "factory_create_core_cbs", "factory_create_address",
            "factory_create_transports", "factory_create_chat_message_cbs", "core_create_account_params",
            "core_create_account", "core_get_chat_room", "core_get_im_notif_policy",
            "chat_room_create_message_from_utf8", "chat_room_get_peer_address", "chat_message_get_from_address")
TEXTS = ("chat_message_get_utf8_text", "chat_message_get_content_type", "address_as_string_uri_only")
for name in POINTERS:
    getattr(lib, f"linphone_{name}").restype = c_void_p
for name in TEXTS:
    getattr(lib, f"linphone_{name}").restype = c_char_p


def call(name: str, *arguments: object) -> object:
    """A function of liblinphone: integers are pointers unless they are small, texts are UTF-8."""
    return getattr(lib, f"linphone_{name}")(*(_given(value) for value in arguments))


def _given(value: object) -> object:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, int) and value > 0xFFFF:
        return c_void_p(value)
    return value


class Phone:
    """One account and its conversations."""

    def __init__(self, user: str, registrar: str, host: str, port: int, folder: Path) -> None:
        self.user = user
        self._kept: list[object] = []  # what the library calls back must not be collected
        self._texts: dict[int, tuple[str, str]] = {}
        self._composing: set[str] = set()
        self._read: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "linphonerc"
        config.write_text(CONFIG.format(host=host, folder=folder))
        self.factory = call("factory_get")
        for kind in ("config", "data", "download"):
            call(f"factory_set_{kind}_dir", self.factory, str(folder))
        self.core = call("factory_create_core_3", self.factory, str(config), None, None)
        self._listen()
        self._transports(port)
        call("core_enable_auto_iterate", self.core, 0)
        call("im_notif_policy_enable_all", call("core_get_im_notif_policy", self.core))
        call("core_start", self.core)
        self._account(registrar)

    def _keep(self, kind: object, function: object) -> object:
        kept = kind(function)
        self._kept.append(kept)
        return kept

    def _listen(self) -> None:
        table = call("factory_create_core_cbs", self.factory)
        call("core_cbs_set_registration_state_changed", table, self._keep(REGISTRATION, self._registration))
        call("core_cbs_set_message_received", table, self._keep(MESSAGE, self._message))
        call("core_cbs_set_is_composing_received", table, self._keep(COMPOSING, self._typing))
        call("core_add_callbacks", self.core, table)
        self._on_state = self._keep(MESSAGE_STATE, self._state)

    def _transports(self, port: int) -> None:
        table = call("factory_create_transports", self.factory)
        for kind, number in (("udp", port), ("tcp", 0), ("tls", 0), ("dtls", 0)):
            call(f"transports_set_{kind}_port", table, number)
        call("core_set_transports", self.core, table)

    def _account(self, registrar: str) -> None:
        parameters = call("core_create_account_params", self.core)
        call("account_params_set_identity_address", parameters, self._address(self.user))
        call("account_params_set_server_addr", parameters, f"<sip:{registrar};transport=udp>")
        call("account_params_set_routes_addresses", parameters, None)
        call("account_params_set_outbound_proxy_enabled", parameters, 1)
        call("account_params_set_register_enabled", parameters, 1)
        call("account_params_set_publish_enabled", parameters, 0)
        account = call("core_create_account", self.core, parameters)
        call("core_add_account", self.core, account)
        call("core_set_default_account", self.core, account)

    def _address(self, user: str) -> object:
        return call("factory_create_address", self.factory, f"sip:{user}")

    def run(self) -> None:
        """Until standard input ends."""
        commands = Commands()
        while commands.open:
            for words in commands.within(ITERATE):
                self._do(*words)
            call("core_iterate", self.core)
        call("core_stop", self.core)

    def _room(self, peer: str) -> object:
        return call("core_get_chat_room", self.core, self._address(peer))

    def _do(self, verb: str, peer: str = "", text: str = "") -> None:
        if verb == "send":
            message = call("chat_room_create_message_from_utf8", self._room(peer), text)
            self._texts[message] = (peer, text)
            table = call("factory_create_chat_message_cbs", self.factory)
            call("chat_message_cbs_set_msg_state_changed", table, self._on_state)
            call("chat_message_add_callbacks", message, table)
            call("chat_message_send", message)
        elif verb == "type":
            call("chat_room_compose", self._room(peer))
        elif verb == "read":
            call("chat_room_mark_as_read", self._room(peer))

    # What the library tells.

    def _registration(self, core: int, account: int, state: int, why: bytes) -> None:
        if state == REGISTERED:
            tell("signed-on")
        elif state == REFUSED:
            tell("disconnected", (why or b"").decode())

    def _message(self, core: int, room: int, message: int) -> None:
        peer = bare(call("address_as_string_uri_only", call("chat_message_get_from_address", message)).decode())
        self._composing.discard(peer)
        text = call("chat_message_get_utf8_text", message)
        kind = call("chat_message_get_content_type", message) or b""
        tell("message", peer, text.decode() if text is not None else f"({kind.decode()})")

    def _typing(self, core: int, room: int) -> None:
        peer = bare(call("address_as_string_uri_only", call("chat_room_get_peer_address", room)).decode())
        typing = bool(call("chat_room_is_remote_composing", room) & 0xFF)
        if typing != (peer in self._composing):
            tell("typing" if typing else "typing-stopped", peer)
        (self._composing.add if typing else self._composing.discard)(peer)

    def _state(self, message: int, state: int) -> None:
        peer, text = self._texts.get(message, ("", ""))
        word, status = STATES.get(state, ("", ""))
        if word == "final":
            tell(word, peer, status, text)
        elif word:
            tell(word, peer, text)


if __name__ == "__main__":
    Phone(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5])).run()
