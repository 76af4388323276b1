"""Where settings come from, and what is said when they are wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from chatmaster.config import loader, validation, web_address
from chatmaster.config.formatting import closest, visible
from chatmaster.config.loader import Loaded
from chatmaster.errors import ConfigError
from chatmaster.settings import Settings


def load(tmp_path: Path, text: str = "", **given) -> Loaded:
    file = tmp_path / "a.toml"
    file.write_text(text)
    given.setdefault("environ", {"HOME": "/home/x"})  # short: the path of a unix socket below it has a limit
    return loader.load(str(file), directory=tmp_path, **given)


def faults_of(tmp_path: Path, text: str = "", **given) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text, **given)
    return [str(fault).replace(f"{tmp_path}/", "") for fault in raised.value.faults]


def test_nothing_given_means_the_defaults(tmp_path):
    loaded = loader.load(environ={"HOME": "/home/x"}, directory=tmp_path)
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.file is None
    assert loaded.state_dir == Path("/home/x/.local/state/chatmaster")


def test_flags_win_over_the_environment_over_the_file_over_the_program_over_defaults(tmp_path):
    text = "[server]\nbacklog = 2\nworkers = 2\nmax_memory = 2\n[limits]\nburst = 2\n"
    environ = {"CHATMASTER_SERVER_WORKERS": "3", "CHATMASTER_LIMITS_BURST": "3"}
    loaded = load(tmp_path, text, environ=environ, flags={"server.workers": 4}, overrides=["limits.burst=5"])
    loaded = loaded.declare({"server.backlog": 1, "server.listen": ["ws://x:1"]}, "app.py")
    server = loaded.settings.server
    assert (server.workers, server.max_memory, server.backlog, server.listen) == (4, 2, 2, ("ws://x:1",))
    assert loaded.settings.limits.burst == 5
    origins = {key: origin.replace(f"{tmp_path}/", "") for key, origin in loaded.origins.items()}
    assert origins["server.workers"] == "flag -n"
    assert origins["limits.burst"] == "flag --set"
    assert origins["server.max_memory"] == "a.toml:4"
    assert origins["server.listen"] == "program app.py"
    assert origins["log.level"] == "default"


def test_all_faults_are_told_at_once_with_their_lines(tmp_path):
    text = """\
# a comment = 3
[server]
listen = [
  "ws://127.0.0.1:1",  # ] no end
]
wrokers = 3
workers = "four"

[limits]
rate = -1

[[rooms]]
match = "a*"
[[rooms]]
say = '''
[limits]
'''
[[rooms]]
match = "b"
membres = 3
"""
    assert faults_of(tmp_path, text, environ={"CHATMASTER_LOG_LEVEL": "loud"}, overrides=["x.y=1", "nonsense"]) == [
        "a.toml:6: server.wrokers: unknown key; did you mean server.workers?",
        "flag --set: x.y: unknown key",
        "flag --set: 'nonsense' has no '='; allowed: section.key=value",
        'a.toml:7: server.workers is "four"; allowed: a whole number from 0 to 511',
        "a.toml:10: limits.rate is -1; allowed: a number, 0.0 or more",
        r'a.toml:15: rooms[1].say is "[limits]\n"; allowed: a list, each a string',
        "a.toml:14: rooms[1]: match is missing: the pattern of the room names",
        "a.toml:20: rooms[2].membres: unknown key; did you mean members?",
        'environment CHATMASTER_LOG_LEVEL: log.level is "loud"; allowed: "debug" or "error" or "info" or "warning"',
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[server\n", "a.toml:1: is not TOML: Expected ']' at the end of a table declaration"),
        ("server = 3\n", "a.toml:1: server is 3; allowed: a table of keys"),
        ("rooms = 3\n", "a.toml:1: rooms is 3; allowed: an array of tables, [[rooms]]"),
        ("[sever]\n", "a.toml:1: sever: unknown key; did you mean server?"),
        ("\n\nserver = { wrokers = 1 }\n", "a.toml:3: server.wrokers: unknown key; did you mean server.workers?"),
        (
            "[master]\nname = 'a b'\n",
            r'a.toml:2: master.name is "a b"; allowed: a string that matches ^[A-Za-z0-9_-]{1,32}\Z',
        ),
    ],
)
def test_faults_of_the_file(tmp_path, text, fault):
    assert faults_of(tmp_path, text) == [fault]


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("server.listen=ws://a:1,ws://a:1", 'server.listen[1] is "ws://a:1"; the address is listed twice'),
        ("server.listen=[]", "server.listen is []; allowed: one address or more"),
        ("server.listen=x", 'server.listen[0] is "x"; allowed: websocket://HOST:PORT (or ws://HOST:PORT), '
            "wss://HOST:PORT, unix:/PATH; did you mean websocket://x:8000?"),
        ("server.listen=wss://a:1", 'server.listen[0] is "wss://a:1"; wss needs server.tls_cert and server.tls_key'),
        (
            "server.trusted_proxies=unix,x",
            'server.trusted_proxies[1] is "x"; allowed: a network, as 10.0.0.0/8 or ::1, '
            'or "unix" for clients of a unix: address',
        ),
        (
            "auth.secret=x",
            "auth.secret is a secret of 1 bytes; allowed: 16 or more random bytes; better 32",
        ),
        (
            "http.origins=https://a,chat.example.org",
            'http.origins[1] is "chat.example.org"; allowed: SCHEME://HOST or SCHEME://HOST:PORT as a browser sends it'
            ", * for any part",
        ),
        (
            "http.origins=https://a/b",
            'http.origins[0] is "https://a/b"; allowed: SCHEME://HOST or SCHEME://HOST:PORT as a browser sends it, '
            "* for any part",
        ),
        (
            "http.hosts=https://a",
            'http.hosts[0] is "https://a"; allowed: names, as chat.example.org or *.example.org',
        ),
        (
            "auth.mode=token",
            'auth.mode is "token"; tokens need auth.secret, auth.public_key or auth.jwks to be verified',
        ),
        ("auth.algorithms=none", 'auth.algorithms[0] is "none"; allowed with auth.secret: HS256, HS384, HS512'),
        (
            "auth.jwks=/none",
            'auth.jwks is "/none"; allowed: a URL (https://…) of a JSON Web Key Set, or a readable file with one',
        ),
        (
            "auth.jwks=https://",
            'auth.jwks is "https://"; allowed: a URL as https://example.org/path; the host is missing',
        ),
        (
            "auth.jwks=https://u:p@x/",
            'auth.jwks is "https://u:p@x/"; a user and a password do not belong into the URL: logs and lists show it',
        ),
        ('auth.jwks={"keys": 1}', 'auth.jwks is "{\\"keys\\": 1}"; the file has no JSON object with a list `keys`'),
        ("auth.public_key=/none", 'auth.public_key is "/none"; allowed: a public key as PEM text, or a file with one'),
        ("master.user=no-such-user", 'master.user is "no-such-user"; allowed: a user of this machine'),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together(tmp_path, override, fault):
    assert faults_of(tmp_path, overrides=[override]) == [f"flag --set: {fault}"]


def test_names_that_are_allowed(tmp_path):
    origins = ["http://[::1]:8000", "https://*.example.org", "*", "null", "chrome-extension://abc"]
    hosts = ["chat.example.org", "*.example.org:8443", "[2001:db8::1]", "10.0.0.7", "*"]
    settings = load(tmp_path, f"[http]\norigins = {origins}\nhosts = {hosts}\n").settings
    assert (list(settings.http.origins), list(settings.http.hosts)) == (origins, hosts)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[server]\nlisten = ["ws://127.0.0.1:1", "ws://[::1]:1", "ws://localhost:1", "unix:/x"]', 0),
        ('[server]\nlisten = ["ws://0.0.0.0:1", "ws://:2", "ws://192.0.2.1:3"]', 3),
        ('[server]\nlisten = ["ws://0.0.0.0:1"]\n[auth]\nmode = "token"\nsecret = "0123456789abcdef"', 0),
        ('[server]\nlisten = ["ws://0.0.0.0:1"]\napp = "mine.py"', 0),
    ],
)
def test_guests_of_other_machines_are_warned_of(tmp_path, text, told):
    warnings = validation.warnings(load(tmp_path, text).settings)
    assert len(warnings) == told
    assert all('auth.mode = "token"' in warning for warning in warnings)


@pytest.mark.parametrize(
    "url",
    [
        *("redis://h", "rediss://u:p@h:1/2", "unix:///x.sock"),
        *("redis+sentinel://a:1,b:2/main", "redis+cluster://a:1,b", "rediss+cluster://u:p@a:1"),
    ],
)
def test_store_urls_that_are_allowed(tmp_path, url):
    assert load(tmp_path, overrides=[f"store.url={url}"]).settings.store.url == url


def test_an_empty_variable_is_shown_with_what_to_do(tmp_path):
    def told(name: str, text: str) -> str:
        (fault,) = faults_of(tmp_path, environ={"HOME": "/home/x", name: text})
        return fault

    hint = "is set and empty: `unset {}` if nothing is meant"
    fault = told("CHATMASTER_STORE_URL", "")
    assert fault.startswith('environment CHATMASTER_STORE_URL: store.url is ""; allowed: embedded')
    assert fault.endswith(hint.format("CHATMASTER_STORE_URL"))
    assert told("CHATMASTER_SERVER_WORKERS", "").endswith(hint.format("CHATMASTER_SERVER_WORKERS"))
    assert "unset" not in told("CHATMASTER_STORE_URL", "nonsense")


@pytest.mark.parametrize(
    "url", ["redis+cluster://:hunter2@h/3", "http://u:hunter2@h", "redis://", "redis://:hunter2@h:port", "hunter2"]
)
def test_store_urls_that_are_refused_without_showing_a_password(tmp_path, url):
    (fault,) = faults_of(tmp_path, overrides=[f"store.url={url}"])
    assert fault.startswith("flag --set: store.url is ") and "hunter2" not in fault


def test_a_secret_of_the_wrong_type_is_not_shown(tmp_path):
    (fault,) = faults_of(tmp_path, "[auth]\nsecret = 123456\n")
    assert "123456" not in fault


def test_a_unix_path_that_is_too_long_is_named_before_anything_starts(tmp_path):
    (fault,) = faults_of(tmp_path, overrides=[f"master.state_dir=/{'x' * 100}"])
    assert "a unix socket's path may have 107 bytes" in fault


def test_values_of_the_environment_are_toml_or_bare_words_or_lists_with_commas(tmp_path):
    environ = {
        "CHATMASTER_LOG_LEVEL": "debug",
        "CHATMASTER_HTTP_PAGE": "false",
        "CHATMASTER_SERVER_LISTEN": "ws://a:1, unix:/x",
        "CHATMASTER_HTTP_ORIGINS": '["https://a"]',
        "CHATMASTER_AUTH_SECRET": "1234567890123456",
        "CHATMASTER_ROOMS": '[{match = "a", slow_mode = 2}]',
    }
    settings = load(tmp_path, environ=environ).settings
    assert settings.log.level == "debug"
    assert settings.http.page is False
    assert settings.server.listen == ("ws://a:1", "unix:/x")
    assert settings.http.origins == ("https://a",)
    assert settings.auth.secret == "1234567890123456"
    assert settings.rooms[0].slow_mode == 2


def test_a_misspelt_variable_is_warned_of_with_the_one_that_was_meant(tmp_path):
    loaded = load(tmp_path, environ={"CHATMASTER_SERVER_WROKERS": "1", "CHATMASTER_": "", "CHATMASTER_X": "1"})
    assert loaded.settings.server.workers == 0
    assert loaded.warnings == (
        "environment CHATMASTER_SERVER_WROKERS: not a setting, ignored; did you mean CHATMASTER_SERVER_WORKERS?",
        "environment CHATMASTER_: not a setting, ignored",
        "environment CHATMASTER_X: not a setting, ignored",
    )


def test_what_a_container_platform_sets_for_services_ends_no_start_and_is_one_warning_a_service(tmp_path):
    links = {
        "SERVICE_HOST": "10.0.0.1", "SERVICE_PORT": "6379", "SERVICE_PORT_HTTP": "80", "PORT": "tcp://10.0.0.1:6379",
        "PORT_6379_TCP": "tcp://10.0.0.1:6379", "PORT_6379_TCP_ADDR": "10.0.0.1", "PORT_6379_TCP_PORT": "6379",
        "PORT_6379_TCP_PROTO": "tcp",
    }  # fmt: skip
    services = ("CHATMASTER", "CHATMASTER_STORE", "CHATMASTER_SERVER", "CHATMASTER_MY_REDIS", "CHATMASTER_HTTP")
    environ = {f"{service}_{end}": text for service in services for end, text in links.items()}
    loaded = load(tmp_path, environ=environ)
    assert loaded.settings == load(tmp_path, environ={}).settings
    assert [warning.partition(": not a setting")[0] for warning in loaded.warnings] == [
        f"environment CHATMASTER_{service}_PORT and 7 more" for service in ("HTTP", "MY_REDIS", "SERVER", "STORE")
    ]
    (alone,) = load(tmp_path, environ={"CHATMASTER_STORE_PORT": "tcp://10.0.0.1:6379"}).warnings
    assert alone.startswith("environment CHATMASTER_STORE_PORT: not a setting, ignored; container platforms set")
    assert "a service named chatmaster-store " in alone


def test_a_known_variable_with_a_bad_value_stays_a_fault(tmp_path):
    (fault,) = faults_of(tmp_path, environ={"CHATMASTER_SERVER_WORKERS": "tcp://10.0.0.1:80"})
    assert fault.startswith("environment CHATMASTER_SERVER_WORKERS: server.workers is")


def test_the_file_is_searched_for_in_order(tmp_path):
    def chosen(**given) -> Path | None:
        return loader.load(directory=tmp_path, **given).file

    assert chosen(environ={}) is None
    for name in ("chatmaster.toml", "named.toml", "flag.toml"):
        (tmp_path / name).write_text("")
    assert chosen(environ={}) == tmp_path / "chatmaster.toml"
    assert chosen(environ={"CHATMASTER_CONFIG": "named.toml"}) == tmp_path / "named.toml"
    assert chosen(environ={"CHATMASTER_CONFIG": "named.toml"}, file="flag.toml") == tmp_path / "flag.toml"


def test_a_named_file_that_is_missing_is_a_fault(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        loader.load("none.toml", environ={}, directory=tmp_path)


def test_the_state_directory_comes_from_the_setting_or_systemd_or_xdg(tmp_path):
    environ = {"HOME": "/h", "XDG_STATE_HOME": "/x"}
    assert load(tmp_path, environ=environ).state_dir == Path("/x/chatmaster")
    environ["STATE_DIRECTORY"] = "/var/lib/chatmaster:/other"
    assert load(tmp_path, environ=environ).state_dir == Path("/var/lib/chatmaster")
    loaded = load(tmp_path, environ=environ, flags={"master.state_dir": "here", "master.name": "two"})
    assert loaded.state_dir == tmp_path / "here"
    assert loaded.control_socket == tmp_path / "here" / "two.sock"
    assert loaded.pid_file == tmp_path / "here" / "two.pid"


def test_a_reload_reads_the_same_sources_again_and_a_broken_file_leaves_the_old_settings(tmp_path):
    loaded = load(tmp_path, "[limits]\nburst = 1\n", overrides=["log.level=debug"])
    (tmp_path / "a.toml").write_text("[limits]\nburst = 2\n")
    again = loaded.reload()
    assert (again.settings.limits.burst, again.settings.log.level) == (2, "debug")
    (tmp_path / "a.toml").write_text("[limits]\nburst = 0\n")
    with pytest.raises(ConfigError):
        again.reload()


def test_a_fault_elsewhere_does_not_hinder_finding_the_master(tmp_path):
    text = "[master]\nname = 'two'\n[limits]\nburst = 'x'\n"
    assert load(tmp_path, text, only="master").settings.master.name == "two"


def test_a_public_key_may_be_a_file(tmp_path):
    (tmp_path / "key.pem").write_text("-----BEGIN PUBLIC KEY-----\n")
    assert load(tmp_path, overrides=["auth.public_key=key.pem"]).settings.auth.public_key.startswith("-----BEGIN")


def test_a_key_set_may_be_a_file_which_is_not_shown_and_a_url_is(tmp_path):
    (tmp_path / "keys.json").write_text('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}')
    settings = load(tmp_path, overrides=["auth.jwks=keys.json"]).settings
    assert settings.auth.jwks.startswith("{") and visible(settings, "auth.jwks") == "***"
    settings = load(tmp_path, overrides=["auth.jwks=https://a/keys"]).settings
    assert visible(settings, "auth.jwks") == "https://a/keys" and not validation.warnings(settings)
    for host, warned in (("127.0.0.1:1", 0), ("[::1]", 0), ("keycloak:8080", 1)):
        settings = load(tmp_path, overrides=[f"auth.jwks=http://{host}/keys"]).settings
        assert len(validation.warnings(settings)) == warned
    both = ["auth.jwks=https://a/keys", "auth.secret=1234567890123456"]
    assert "allowed: one of auth.secret, auth.public_key and auth.jwks" in faults_of(tmp_path, overrides=both)[0]


@pytest.mark.parametrize(
    ("overrides", "fault"),
    [
        (["hooks.say=ftp://a/b"], 'hooks.say is "ftp://a/b"; allowed: a URL as https://example.org/path'),
        (["hooks.hello=chat.example.org"], 'hooks.hello is "chat.example.org"; allowed: a URL'),
        (["hooks.secret=short"], "hooks.secret is a secret of 5 bytes; the questions are signed"),
        (["hooks.secret=whsec_!"], "hooks.secret is given; the secret is no base64"),
        (["hooks.headers=cookie,Host"], 'hooks.headers[1] is "Host"; allowed: a header that browsers send'),
        (["hooks.headers=webhook-signature"], "hooks.headers[0] is"),
        (["hooks.headers=a b"], "hooks.headers[0] is"),
        (["hooks.handshake=https://a/", "hooks.timeout=10"], "hooks.timeout is 10.0; allowed: less than limits"),
        (["hooks.concurrency=0"], "hooks.concurrency is 0; allowed: a whole number from 1 to 1000"),
        (["hooks.kept=https://a/"], "hooks.kept: unknown key"),
    ],
)
def test_asked_hooks_that_cannot_be_are_refused(tmp_path, overrides, fault):
    if not any("secret" in one for one in overrides):
        overrides = [*overrides, "hooks.secret=1234567890123456"]
    (found,) = faults_of(tmp_path, overrides=overrides)
    assert found.startswith(f"flag --set: {fault}")


def test_asked_hooks_need_a_secret_which_is_not_shown(tmp_path):
    (found,) = faults_of(tmp_path, overrides=["hooks.say=https://a/"])
    assert found.startswith("default: hooks.secret is a secret of 0 bytes; the questions are signed")
    login = ["auth.mode=token", "hooks.handshake=https://a/", "hooks.secret=1234567890123456"]
    assert load(tmp_path, overrides=login).settings.auth.mode == "token", "the application names the users"
    settings = load(tmp_path, overrides=["hooks.say=http://web:8000/", "hooks.secret=1234567890123456"]).settings
    assert visible(settings, "hooks.secret") == "***"
    assert validation.warnings(settings)[0].startswith("hooks.say begins with http://")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/",
        "https:///x",
        "https://a b/",
        "https://ä/",
        "https://a:0/",
        "https://a:x/",
        "https://a/#b",
        "https://[::/",
    ],
)
def test_an_address_to_ask_is_refused(url):
    assert web_address.complaint(url)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be about to become somebody else")
def test_a_key_that_only_root_can_read_is_a_fault_where_workers_are_somebody_else(tmp_path):
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o600)
    files = ["server.tls_cert=cert.pem", "server.tls_key=key.pem"]
    load(tmp_path, overrides=files)
    faults = faults_of(tmp_path, overrides=[*files, "master.user=nobody"])
    assert [fault.partition(";")[0] for fault in faults] == [
        'flag --set: server.tls_cert is "cert.pem"', 'flag --set: server.tls_key is "key.pem"',
    ]  # fmt: skip
    assert "master.user nobody cannot read the file" in faults[1]


@pytest.mark.parametrize("password", ["a/b", "a?b", "a#b", "12/3", "12#3", "[x", "1/2?3#4", "/", "#"])
@pytest.mark.parametrize(
    "url", ["redis://:{}@h:6379/0", "redis://me:{}@h", "rediss://me:{}@[::1]:1/2", "redis+sentinel://:{}@a:1,b/main"]
)
def test_an_unquoted_password_is_told_what_to_encode_and_is_not_shown(tmp_path, url, password):
    (fault,) = faults_of(tmp_path, f'[store]\nurl = "{url.format(password)}"\n')
    assert "percent-encoded: / as %2F" in fault
    assert f":{password}@" not in fault


@pytest.mark.parametrize(
    "url",
    ["redis://me:p%2F%40%23@h:1/2", "redis://:a@b@h", "unix:///a@b/x.sock?password=a@b", "redis://h/0?password=p@x"],
)
def test_what_is_encoded_passes(tmp_path, url):
    assert load(tmp_path, environ={}, overrides=[f"store.url={url}"]).settings.store.url == url


@pytest.mark.parametrize(
    "text", ['master.state_dir = "/a\\u0000b"', 'server.listen = ["unix:/a\\u0000b"]', 'log.file = "\\u0000"']
)
def test_a_nul_in_a_value_is_a_fault(tmp_path, text):
    (fault,) = faults_of(tmp_path, text)
    assert "allowed: " in fault


def test_without_any_home_the_fault_names_the_option(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(ConfigError, match="has no home directory: name a directory with --state-dir"):
        loader.load(directory=tmp_path, environ={})
    assert loader.load(directory=tmp_path, environ={"XDG_STATE_HOME": "/x"}).state_dir == Path("/x/chatmaster")


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("server.portt", ""), ("server.wrokers", "server.workers"), ("server.lisen", "server.listen"),
        ("sever.workers", "server.workers"), ("log.fil", "log.file"), ("workers", "server.workers"),
        ("limits.burst_size", ""), ("server.burst", "limits.burst"), ("x.y", ""), ("server.url", "store.url"),
    ],
)  # fmt: skip
def test_what_was_meant_is_guessed_by_the_word_and_not_by_its_section(key, meant):
    assert closest(key, loader.KEYS) == meant


@pytest.mark.parametrize("key", ["login_url", "token_url", "logout_url"])
def test_addresses_of_the_site_that_are_allowed(tmp_path, key):
    for url in ("https://example.org/in?next={return}", "/login", "http://localhost:8000/a", "https://[2001:db8::1]/"):
        assert getattr(load(tmp_path, overrides=[f"auth.{key}={url}"]).settings.auth, key) == url


@pytest.mark.parametrize(
    "url",
    [
        *("javascript:alert(1)", "data:text/html,x", "//evil.example/", "/\\\\evil.example", "login", "https://"),
        *("https://u:p@example.org/", "https://example.org/#x", "https://example.org:port/", "/{back}"),
        *('https://e.org/"><script>', "https://e.org/ x", "https:///x", "https://e.org/\nx"),
    ],
)  # fmt: skip
def test_addresses_of_the_site_that_are_refused(tmp_path, url):
    (fault,) = faults_of(tmp_path, f"[auth]\nlogin_url = {json.dumps(url)}\n")
    assert "auth.login_url is" in fault and "allowed: https://HOST/PATH" in fault


def test_a_login_without_encryption_is_warned_of(tmp_path):
    text = (
        '[auth]\nlogin_url = "http://example.org/"\ntoken_url = "http://127.0.0.1:9/t"\nlogout_url = "https://e.org/"'
    )
    (warning,) = validation.warnings(load(tmp_path, text).settings)
    assert warning.startswith("auth.login_url begins with http://") and "example.org" in warning


def test_the_key_for_web_push_lies_in_the_state_directory(tmp_path):
    """Only where there is push: other settings are as they were written."""
    contact = "push.contact=mailto:ops@example.org"
    where = ["master.state_dir=state", "master.name=one"]
    assert load(tmp_path, overrides=[contact, *where]).settings.push.key_file == str(tmp_path / "state/one.vapid.pem")
    assert load(tmp_path, overrides=[contact, "push.key_file=a.pem"]).settings.push.key_file == str(tmp_path / "a.pem")
    assert load(tmp_path, overrides=where).settings.push.key_file == ""


@pytest.mark.parametrize(
    ("override", "allowed"),
    [
        ("push.contact=ops@example.org", "mailto:NAME@HOST"),
        ("push.contact=http://example.org", "mailto:NAME@HOST"),
        ("push.hosts=https://push.example.org", "allowed: a host"),
        ("push.hosts=*", "allowed: a host"),
        ("push.hosts=push.example.org/path", "allowed: a host"),
    ],
)
def test_settings_of_web_push_that_are_refused(tmp_path, override, allowed):
    (fault,) = faults_of(tmp_path, overrides=[override])
    assert allowed in fault
