"""Each directive of ssh_config goes the way that docs/ssh-config.md says, and has the effect that it has with ssh.

The first half takes every row of that table; the second compares what a call did (sshd's log, its own words) with what ssh does.
"""
import gzip
import re
import subprocess
from pathlib import Path

import pytest

import processes
from client import BUILD
from sshd import make_key

ROOT = Path(__file__).resolve().parents[2]
PROBE = BUILD / "tests" / "transport_probe"
ROWS = dict(re.findall(r"^\| (\w+) \| (libssh|ssh|by value|no matter) \|", (ROOT / "docs" / "ssh-config.md").read_text(), re.M))
NEWER = {"ChannelTimeout", "ObscureKeystrokeTiming", "Tag"} # than OpenSSH 9.2

# A value that counts, for every directive; for those by value one for each way.
VALUES = {
    "AddKeysToAgent": "yes", "AddressFamily": "inet", "BatchMode": "yes", "BindAddress": "127.0.0.1", "BindInterface": "none",
    "CanonicalDomains": "a.example", "CanonicalizeFallbackLocal": "no", "CanonicalizeHostname": "yes", "CanonicalizeMaxDots": "3",
    "CanonicalizePermittedCNAMEs": "*.a.example:*.b.example", "CASignatureAlgorithms": "ssh-ed25519", "CertificateFile": "/c",
    "ChallengeResponseAuthentication": "no", "CheckHostIP": "yes", "Ciphers": "aes128-ctr", "ClearAllForwardings": "yes",
    "Compression": "yes", "ConnectionAttempts": "2", "ConnectTimeout": "7", "ControlMaster": "auto", "ControlPath": "/tmp/none-%C",
    "ControlPersist": "10", "DynamicForward": "1080", "EnableEscapeCommandline": "yes", "EnableSSHKeysign": "yes",
    "EscapeChar": "none", "ExitOnForwardFailure": "yes", "FingerprintHash": "md5", "ForkAfterAuthentication": "yes",
    "ForwardAgent": "yes", "ForwardX11": "yes", "ForwardX11Timeout": "5", "ForwardX11Trusted": "no", "GatewayPorts": "yes",
    "GlobalKnownHostsFile": "/g", "GSSAPIAuthentication": "yes", "GSSAPIClientIdentity": "a@B", "GSSAPIDelegateCredentials": "yes",
    "GSSAPIKexAlgorithms": "gss-group14-sha256-", "GSSAPIKeyExchange": "yes", "GSSAPIRenewalForcesRekey": "yes",
    "GSSAPIServerIdentity": "h", "GSSAPITrustDns": "yes", "HashKnownHosts": "yes", "HostbasedAcceptedAlgorithms": "ssh-ed25519",
    "HostbasedAuthentication": "yes", "HostKeyAlgorithms": "ssh-ed25519", "HostKeyAlias": "none", "HostName": "127.0.0.2",
    "IdentitiesOnly": "yes", "IdentityAgent": "none", "IdentityFile": "/k%h", "IgnoreUnknown": "UseKeychain", "IPQoS": "none",
    "KbdInteractiveAuthentication": "no", "KbdInteractiveDevices": "pam", "KexAlgorithms": "curve25519-sha256",
    "KnownHostsCommand": "/bin/true %H", "LocalCommand": "x", "LocalForward": "1 [x]:2", "LogLevel": "DEBUG",
    "LogVerbose": "kex.c:*", "MACs": "hmac-sha2-256", "NoHostAuthenticationForLocalhost": "yes", "NumberOfPasswordPrompts": "1",
    "PasswordAuthentication": "no", "PermitLocalCommand": "yes", "PermitRemoteOpen": "none", "PKCS11Provider": "/l", "Port": "7",
    "ProxyCommand": "nc %h %p", "ProxyUseFdpass": "yes", "PubkeyAcceptedAlgorithms": "ssh-ed25519",
    "PubkeyAuthentication": "unbound", "RekeyLimit": "1G 1h", "RemoteCommand": "ls", "RemoteForward": "8 x:9", "RequestTTY": "yes",
    "RequiredRSASize": "2048", "RevokedHostKeys": "/r", "SecurityKeyProvider": "/x", "ServerAliveCountMax": "9", "ServerAliveInterval": "9", "SessionType": "none",
    "SetEnv": "A=b", "StdinNull": "yes", "StreamLocalBindMask": "0111", "StreamLocalBindUnlink": "yes", "StrictHostKeyChecking": "no",
    "SyslogFacility": "LOCAL0", "TCPKeepAlive": "no", "Tunnel": "yes", "TunnelDevice": "1:2", "UpdateHostKeys": "no", "User": "eve",
    "UserKnownHostsFile": "/a /b", "VerifyHostKeyDNS": "yes", "VisualHostKey": "yes", "XAuthLocation": "/x",
}
BY_VALUE = {
    "SendEnv": [("LANG LC_*", "libssh"), ("none", "ssh"), ("LANG SECRET", "ssh")],
    "ProxyJump": [("b", "libssh"), ("a@b,[::1]:7", "libssh"), ("%h-b", "ssh"), ("ssh://a@b,c", "ssh")],
    "PreferredAuthentications": [("publickey,password", "libssh"), ("keyboard-interactive,publickey", "libssh"), ("password", "ssh")],
}
UNSEEN = {"RequestTTY", "RemoteCommand"} # the question itself answers these: -T, -oRemoteCommand=none


def answer(client, *words, config=None):
    """What ssh -G prints, as lines."""
    argv = ["ssh", "-F", config or client.config, "-T", "-oRemoteCommand=none", "-G", *words, "127.0.0.1", "true"]
    done = subprocess.run(argv, env=client.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    assert done.returncode == 0, done
    return done.stdout.decode().splitlines()


def route(client, *words):
    done = subprocess.run([PROBE, "-e", "-F", client.config, *words, "127.0.0.1"], env=client.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    assert done.returncode == 0, done
    return done.stdout.decode().strip()


def test_the_table_has_the_directives_of_the_code():
    source = (ROOT / "core" / "transport" / "ssh_config.c").read_text()
    ways = {"HONOURED": "libssh", "SYSTEM": "ssh", "DECIDED": "by value", "HARMLESS": "no matter"}
    code = {name: ways[way] for name, way in re.findall(r'\{"(\w+)", (%s)\}' % "|".join(ways), source)}
    assert code.pop("host") == "no matter" # what ssh -G calls the word it was given
    assert code == ROWS


def test_the_table_has_the_directives_of_ssh(client):
    """As ssh -G prints them, and as its manual lists them where that is installed."""
    known = {name.lower() for name in ROWS}
    printed = {line.split(" ")[0].lower() for line in answer(client)} - {"host"}
    assert len(printed) > 70 and printed <= known
    manual = Path("/usr/share/man/man5/ssh_config.5.gz")
    listed = directives_of(gzip.decompress(manual.read_bytes()).decode()) if manual.exists() else set()
    assert {name.lower() for name in listed} <= known | {"host", "match", "include"}


def directives_of(mdoc):
    """The items of the manual's outer list; those of inner ones are values."""
    depth, found = 0, set()
    for line in mdoc.splitlines():
        depth += line.startswith(".Bl") - line.startswith(".El")
        if depth == 1 and (item := re.match(r"\.It Cm (\w+)$", line)):
            found.add(item[1])
    return found


def test_each_row_has_a_value():
    assert set(VALUES) | set(BY_VALUE) | NEWER == set(ROWS)


@pytest.mark.parametrize("name, value, way", [(n, v, {"no matter": "libssh"}.get(ROWS.get(n), ROWS.get(n))) for n, v in sorted(VALUES.items())] +
                         [(n, v, way) for n, cases in sorted(BY_VALUE.items()) for v, way in cases])
def test_row(client, name, value, way):
    client.config.write_text("Host b\n  ProxyJump none\nHost *\n  %s %s\n" % (name, value)) # b: a hop is not behind itself
    stock = answer(client, config="none")
    counting = [line for line in answer(client) if line not in stock]
    assert bool(counting) != (name in UNSEEN), counting
    said = route(client)
    if way == "ssh":
        assert said.startswith("ssh: %s is set (" % name), said
    else:
        assert said.startswith("libssh: "), said


def test_what_no_table_knows_goes_through_ssh(client, scratch):
    """An ssh of next year: it prints a directive that nobody here has heard of."""
    (scratch / "ssh").write_text('#!/bin/sh\ncase "$*" in *"-F none"*) ;; *) echo "brandnew yes" ;; esac\nexec /usr/bin/ssh "$@"\n')
    (scratch / "ssh").chmod(0o755)
    client.env["PATH"] = "%s:%s" % (scratch, client.env["PATH"])
    assert route(client) == "ssh: brandnew is set, which libssh is not known to honour"


# --- effects: what a call does is what ssh does ---

def hello(client, *before, host="node1", way=None):
    """Runs a call, checks the way if one is named; returns what -v said."""
    done = client.run(["run", "-v", *before, "hello", host, "name=Ada"])
    assert done.code == 0 and "Ada" in done.text, done
    if way:
        assert "by %s:" % {"libssh": "libssh", "ssh": "the system ssh"}[way] in done.error, done
    return done.error


def log_of(sshd, act):
    """What sshd wrote down meanwhile."""
    before = len(sshd.log())
    act()
    return sshd.log()[before:]


def accepted(log):
    return re.findall(r"Accepted publickey for (\S+) from \S+ port \d+ ssh2: (\S+) (\S+)", log)


def algorithms(log):
    return set(re.findall(r"kex: (?:algorithm|host key algorithm): (\S+)", log)) | set(re.findall(r"kex: client->server cipher: (\S+) MAC: (\S+) compression: (\S+)", log))


def compare(client, sshd, way, options=(), host="node1"):
    """The same call by sshexec and by ssh itself: the same login, and (libssh) the same algorithms where the configuration names them."""
    ours = log_of(sshd, lambda: hello(client, *options, host=host, way=way))
    def plain():
        done = client.ssh(host, "true", options=options)
        assert done.returncode == 0, done
    theirs = log_of(sshd, plain)
    assert accepted(ours)[:1] == accepted(theirs)[:1] != []
    return ours, theirs


CHOSEN = ["KexAlgorithms ecdh-sha2-nistp384", "Ciphers aes256-ctr", "MACs hmac-sha2-512", "HostKeyAlgorithms rsa-sha2-256", "Compression yes"]


def test_chosen_algorithms_are_used(client, sshd):
    client.write_config(sshd, extra="Host *\n  " + "\n  ".join(CHOSEN))
    ours, theirs = compare(client, sshd, "libssh")
    assert algorithms(ours) == algorithms(theirs) >= {"ecdh-sha2-nistp384", "rsa-sha2-256", ("aes256-ctr", "hmac-sha2-512", "zlib@openssh.com")}


def test_list_modifiers(client, sshd):
    client.write_config(sshd, extra="Host *\n  Ciphers -chacha20*,aes*gcm*\n  KexAlgorithms ^ecdh-sha2-nistp521\n  MACs ^hmac-sha2-512")
    ours, theirs = compare(client, sshd, "libssh")
    assert algorithms(ours) == algorithms(theirs) >= {"ecdh-sha2-nistp521", ("aes128-ctr", "hmac-sha2-512", "none")}


@pytest.mark.skipif(" aes " not in Path("/proc/cpuinfo").read_text(), reason="no AES instructions here")
def test_fast_cipher_where_none_was_chosen(client, sshd):
    log = log_of(sshd, lambda: hello(client, way="libssh"))
    assert "client->server cipher: aes128-gcm@openssh.com" in log and "server->client cipher: aes128-gcm@openssh.com" in log


def test_words_win_over_the_file(client, sshd):
    """-o before all, then -p -l -i, then the file, first match first; ssh knows, and sshexec asks it."""
    wrong = "Host *\n  Port 1\n  User nobody-here\n  IdentityFile /no/such/key\n  IdentitiesOnly yes"
    client.write_config(sshd, extra=wrong)
    given = ["-p", str(sshd.port), "-l", sshd.user, "-i", str(client.key)]
    compare(client, sshd, "libssh", given)
    compare(client, sshd, "libssh", ["-o", "Port=%d" % sshd.port, "-o", "User=" + sshd.user, *given[4:]])
    client.write_config(sshd, extra="Host node1\n  Port %d\nHost *\n  Port 1" % sshd.port)
    compare(client, sshd, "libssh")


@pytest.mark.parametrize("condition", ["Match host 127.0.0.1", "Match originalhost front", "Match user nobody-here", 'Match exec "test %h = 127.0.0.1"', "Match localuser root,*",
                                       "Host fro*", "Host !back,fr?nt front"])
def test_match_and_host(client, sshd, condition):
    text = "Host front\n  HostName 127.0.0.1\n%s\n  Port %d\n  User %s\nMatch all\n  IdentityFile %s\n  UserKnownHostsFile %s\n  Port 1\n"
    client.config.write_text(text % (condition, sshd.port, sshd.user, client.key, client.known_hosts))
    options = ["-l", "nobody-here"] if "user nobody" in condition else []
    if options: # matched by the user's name, which then stays
        found = [line for line in answer(client, *options) if line.startswith("port ")]
        assert found == ["port %d" % sshd.port]
        done = client.run(["doctor", *options, "front"])
        assert "nobody-here" in done.text + done.error
    else:
        compare(client, sshd, "libssh", host="front")


def test_match_exec_is_asked_each_time(client, sshd, scratch):
    client.write_config(sshd, extra='Match exec "test -e %s/flag"\n  Port 1' % scratch)
    hello(client, way="libssh")
    (scratch / "flag").touch()
    assert client.run(["run", "hello", "node1"]).code == 255
    (scratch / "flag").unlink()
    hello(client, way="libssh")


def test_include_is_followed_and_watched(client, sshd, scratch):
    (scratch / "conf.d").mkdir()
    client.write_config(sshd, extra="Host node1\n  Include %s/conf.d/*\nHost *" % scratch)
    compare(client, sshd, "libssh")
    (scratch / "conf.d" / "late").write_text("HostName 127.0.0.2\nHostKeyAlias 127.0.0.1\n")
    client.known_hosts.write_text("127.0.0.1 %s\n" % sshd.host_keys["ed25519"])
    compare(client, sshd, "ssh")


def test_identities_only_and_the_first_key(client, sshd, scratch):
    make_key(scratch / "first")
    sshd.authorize(make_key(scratch / "second", "rsa"))
    client.write_config(sshd, extra="Host *\n  IdentitiesOnly yes\n  IdentityFile %s/first\n  IdentityFile %s/%%L/../second\n  IdentityFile %s/second" % (scratch, scratch, scratch))
    ours, _ = compare(client, sshd, "libssh")
    assert accepted(ours)[0][1] == "RSA"


def test_identity_agent(client, sshd, scratch, key_agent):
    sshd.authorize(make_key(scratch / "held", "ecdsa"))
    subprocess.run(["ssh-add", "-q", scratch / "held"], env=dict(client.env, SSH_AUTH_SOCK=str(key_agent)), check=True, capture_output=True)
    client.env["OTHER_AGENT"] = str(key_agent)
    client.key.unlink()
    for value in (key_agent, "$OTHER_AGENT"):
        client.write_config(sshd, extra="Host *\n  IdentityAgent %s" % value)
        ours, _ = compare(client, sshd, "libssh")
        assert accepted(ours)[0][1] == "ECDSA"
    client.env["SSH_AUTH_SOCK"] = str(key_agent)
    client.write_config(sshd, extra="Host *\n  IdentityAgent none")
    assert client.run(["run", "hello", "node1"]).code == client.ssh("node1", "true").returncode == 255


# --- host keys ---

def test_two_known_hosts_files_and_hashed_names(client, sshd, scratch):
    first, second = scratch / "first", scratch / "second"
    first.write_text("# nobody\n")
    second.write_text("[127.0.0.1]:%d %s\n" % (sshd.port, sshd.host_keys["ecdsa"]))
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", second], check=True, capture_output=True)
    assert second.read_text().startswith("|1|")
    client.write_config(sshd, extra="Host *\n  UserKnownHostsFile %s %s\n  StrictHostKeyChecking yes" % (first, second))
    ours, theirs = compare(client, sshd, "libssh")
    assert "ecdsa-sha2-nistp256" in algorithms(ours) & algorithms(theirs)


@pytest.mark.parametrize("value", ["yes", "ask", "accept-new", "no", "off"])
@pytest.mark.parametrize("known", ["unknown", "changed"])
def test_strict_host_key_checking(client, sshd, scratch, value, known):
    """Whether it goes through, and what then stands in known_hosts: as with ssh."""
    line = "" if known == "unknown" else "[127.0.0.1]:%d %s\n" % (sshd.port, make_key(scratch / "other"))
    client.write_config(sshd, extra="Host *\n  StrictHostKeyChecking %s\n  HashKnownHosts no\n  UpdateHostKeys no" % value)
    seen = []
    for act in (lambda: client.run(["run", "--transport", "libssh", "hello", "node1"]).code, lambda: client.ssh("node1", "true").returncode):
        client.known_hosts.write_text(line)
        seen.append((act(), client.known_hosts.read_text()))
    assert seen[0] == seen[1]
    assert (seen[0][0] == 0) == (value in ("no", "off") or (value == "accept-new" and known == "unknown"))


def test_host_key_alias(client, sshd):
    client.known_hosts.write_text("front-door %s\n" % sshd.host_keys["ed25519"])
    client.write_config(sshd, extra="Host *\n  HostKeyAlias front-door\n  StrictHostKeyChecking yes")
    compare(client, sshd, "ssh")


def test_revoked_host_keys(client, sshd, scratch):
    (scratch / "revoked").write_text("".join(key + "\n" for key in sshd.host_keys.values()))
    client.write_config(sshd, extra="Host *\n  RevokedHostKeys %s/revoked" % scratch)
    done = client.run(["run", "-v", "hello", "node1"])
    assert done.code == 255 and "RevokedHostKeys is set" in done.error, done
    assert client.ssh("node1", "true").returncode == 255


def test_host_certificate(client, sshd_with, scratch):
    authority = make_key(scratch / "ca")
    make_key(scratch / "host")
    subprocess.run(["ssh-keygen", "-q", "-s", scratch / "ca", "-I", "host", "-h", "-n", "127.0.0.1", scratch / "host.pub"], check=True)
    server = sshd_with(extra="HostKey %s\nHostCertificate %s" % (scratch / "host", scratch / "host-cert.pub"))
    client.connect_to(server)
    client.known_hosts.write_text("@cert-authority * %s\n" % authority)
    client.write_config(server, extra="Host *\n  StrictHostKeyChecking yes")
    compare(client, server, "ssh")
    client.known_hosts.write_text("@cert-authority * %s\n" % make_key(scratch / "wrong"))
    assert client.run(["run", "hello", "node1"]).code == client.ssh("node1", "true").returncode == 255


def test_user_certificate_beside_the_key(client, sshd_with, scratch):
    authority = make_key(scratch / "ca")
    (scratch / "ca-list").write_text(authority + "\n")
    server = sshd_with(extra="TrustedUserCAKeys %s" % (scratch / "ca-list"))
    subprocess.run(["ssh-keygen", "-q", "-s", scratch / "ca", "-I", "ada", "-n", server.user, str(client.key) + ".pub"], check=True)
    client.known_hosts.write_text(server.known_hosts())
    client.write_config(server)
    ours, _ = compare(client, server, "ssh")
    assert accepted(ours)[0][1] == "ED25519-CERT"


# --- ways in ---

def test_proxy_jump_through_a_second_sshd(client, sshd, sshd_with):
    bastion = sshd_with()
    bastion.authorize(client.public_key)
    client.known_hosts.write_text(sshd.known_hosts() + bastion.known_hosts())
    jump = "Host bastion\n  HostName 127.0.0.2\n  Port %d\nHost node1\n  ProxyJump bastion" % bastion.port
    client.write_config(sshd, extra=jump)
    log = log_of(bastion, lambda: compare(client, sshd, "libssh"))
    assert len(accepted(log)) == 2 and "direct-tcpip" in log


def test_proxy_command(client, sshd, scratch):
    (scratch / "relay").write_text("#!/bin/sh\necho \"$@\" >> %s/used\nexec ssh -F none -W 127.0.0.1:$2 -p $2 -oBatchMode=yes -i %s -oUserKnownHostsFile=%s %s@$1\n"
                                   % (scratch, client.key, client.known_hosts, sshd.user))
    (scratch / "relay").chmod(0o755)
    client.write_config(sshd, extra="Host *\n  ProxyCommand %s/relay %%h %%p" % scratch)
    hello(client, way="ssh")
    assert (scratch / "used").read_text().split() == ["127.0.0.1", str(sshd.port)]


def test_canonical_names(client, sshd):
    client.write_config(sshd, extra="CanonicalizeHostname yes\nCanonicalizeFallbackLocal yes\nCanonicalDomains invalid")
    compare(client, sshd, "ssh", host="127.0.0.1")


def test_address_family(client, sshd):
    client.write_config(sshd, extra="Host local\n  HostName 127.0.0.1\n  AddressFamily inet")
    client.known_hosts.write_text(sshd.known_hosts(hosts=["127.0.0.1"]))
    compare(client, sshd, "libssh", host="local")
    client.write_config(sshd, extra="Host node1\n  AddressFamily inet6")
    assert client.run(["run", "hello", "node1"]).code == client.ssh("node1", "true").returncode == 255


def test_live_master_is_used(client, sshd):
    path = client.home / "m"
    client.write_config(sshd, extra="Host *\n  ControlPath %s" % path)
    hello(client, way="libssh")
    master = processes.start(["ssh", "-F", client.config, "-M", "-N", "-oBatchMode=yes", "node1"], env=client.env, stdin=subprocess.DEVNULL)
    try:
        assert processes.wait_until(path.exists, 10)
        logins = sshd.logins()
        assert "ControlPath %s answers now" % path in hello(client, way="ssh")
        assert sshd.logins() == logins
    finally:
        master.terminate()
        master.wait()
    hello(client, way="libssh")


@pytest.mark.parametrize("line", ["StdinNull yes", "ForkAfterAuthentication yes", "SessionType none", "RemoteCommand false", "RequestTTY force", "PermitLocalCommand yes\n  LocalCommand echo noise",
                                  "VisualHostKey yes", "ForwardX11 yes", "LocalForward 1 127.0.0.1:1\n  ExitOnForwardFailure yes", "IgnoreUnknown Use*\n  UseKeychain yes"])
@pytest.mark.parametrize("way", ["libssh", "ssh"])
def test_what_does_not_matter_does_no_harm(client, sshd, line, way):
    client.write_config(sshd, extra="Host *\n  %s%s" % (line, "\n  IPQoS none" if way == "ssh" else ""))
    hello(client, way=way)
