-- A Prosody as an operator would run it, on the lab's addresses. @NAMES@ are filled in by the lab.
run_as_root = true
daemonize = false
data_path = "@DATA@"
log = { debug = "*console" }
interfaces = { "@V4@", "@V6@" }
local_interfaces = { "@V4@" }
component_ports = { @PORT@ }
component_interfaces = { "@V4@" }
-- Where lua-unbound is installed it answers .test by itself unless told otherwise.
unbound = { options = { ["local-zone:"] = "test. transparent" } }
use_libevent = false

modules_enabled = { "roster", "offline", "saslauth", "tls", "dialback", "disco", "ping", "register_ibr", "smacks", "version" }
authentication = "internal_plain"
allow_registration = true
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
s2s_require_encryption = true
s2s_secure_auth = false
s2s_close_timeout = 1
s2s_direct_tls_ports = { 5270 }
s2s_direct_tls_ssl = { certificate = "@CERTIFICATE@", key = "@KEY@", cafile = "@ROOT@" }
c2s_direct_tls_ports = { 5223 }
c2s_direct_tls_ssl = { certificate = "@CERTIFICATE@", key = "@KEY@", cafile = "@ROOT@" }
-- Rooms are there for whoever joins first, without a form to fill in.
muc_room_locking = false
restrict_room_creation = false

@HOSTS@
