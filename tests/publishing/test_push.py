"""Dashboards and campaigns in a Grafana somewhere else: what a push does, and what it says when it cannot."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from database import load
from grafana_answers import DASHBOARDS
from grafana_stand_in import PLUGIN, STORY, Command, No, StandIn, admin, running

from grafana.publish import FOLDER_UID, Source, push
from grafana.remote import Grafana
from schemas.errors import GrafanaError, SetupError, Unavailable

BOARDS = list(DASHBOARDS.values())


def by_name(steps: Any) -> dict[str, str]:
    return {step.name: step.done for step in steps}


@pytest.mark.stack
def test_a_push_brings_everything_and_the_next_one_changes_nothing(
    gallery: Command, stand_in: StandIn, source: Source
) -> None:
    first = gallery("push")
    assert first.exit_code == 0, first.output
    assert f"{stand_in.url}: Grafana 12.4.0, plugin 4.20.0, as sa-1-admin" in first.output
    assert first.output.count("created") == 2 + len(BOARDS)
    assert {uid: one["meta"]["folderUid"] for uid, one in stand_in.dashboards.items()} == dict.fromkeys(
        DASHBOARDS, FOLDER_UID
    )
    stored = stand_in.dashboards["sponsor"]["dashboard"]
    assert {name: stored[name] for name in DASHBOARDS["sponsor"]} == DASHBOARDS["sponsor"]
    assert stand_in.sources["gallery-ch"]["jsonData"] == source.settings
    assert stand_in.sources["gallery-ch"]["secureJsonData"] == {"password": "reads"}
    versions = {uid: one["dashboard"]["version"] for uid, one in stand_in.dashboards.items()}
    stand_in.writes.clear()
    again = gallery("push")
    assert again.exit_code == 0, again.output
    assert again.output.count("unchanged") == 1 + len(BOARDS)
    assert "kept" in again.output
    assert set(stand_in.writes) == {"POST /dashboards/db"}
    assert {uid: one["dashboard"]["version"] for uid, one in stand_in.dashboards.items()} == versions


@pytest.mark.stack
def test_a_dry_run_says_what_a_push_does(stand_in: StandIn, source: Source) -> None:
    grafana = admin(stand_in)
    planned = push(grafana, BOARDS, source, dry_run=True)
    assert stand_in.writes == []
    assert planned == push(grafana, BOARDS, source)
    stand_in.dashboards["gallery"]["dashboard"]["title"] = "Edited by hand"
    planned = push(grafana, BOARDS, source, dry_run=True)
    assert by_name(planned)["Gallery"] == "updated"
    assert planned == push(grafana, BOARDS, source)
    assert stand_in.dashboards["gallery"]["dashboard"]["title"] == "Gallery"
    assert by_name(push(grafana, BOARDS, source, dry_run=True))["Gallery"] == "unchanged"


@pytest.mark.stack
def test_a_data_source_is_written_anew_only_when_asked_for(stand_in: StandIn, source: Source) -> None:
    grafana = admin(stand_in)
    push(grafana, [], source)
    name = "Gallery Analytics (ClickHouse)"
    stand_in.sources["gallery-ch"]["jsonData"] |= {"dialTimeout": "9"}
    assert by_name(push(grafana, [], source, replace_source=True))[name] == "unchanged"
    elsewhere = replace(source, host="localhost")
    assert by_name(push(grafana, [], elsewhere))[name] == "kept"
    assert stand_in.sources["gallery-ch"]["jsonData"]["host"] == "127.0.0.1"
    assert by_name(push(grafana, [], elsewhere, replace_source=True))[name] == "updated"
    assert stand_in.sources["gallery-ch"]["jsonData"] == {**elsewhere.settings, "dialTimeout": "9"}
    # Nobody can read the password that is there; but that it is wrong can be seen.
    stand_in.sources["gallery-ch"]["secureJsonData"] = {"password": "old"}
    (kept, _) = push(grafana, [], elsewhere)
    assert "reader" in kept.wrong
    (updated, _) = push(grafana, [], elsewhere, replace_source=True)
    assert (updated.done, updated.wrong) == ("updated", "")
    stand_in.sources["gallery-ch"]["readOnly"] = True  # from a file
    assert by_name(push(grafana, [], source, replace_source=True))[name] == "kept"


@pytest.mark.stack
def test_a_data_source_that_does_not_work_is_told(gallery: Command, stand_in: StandIn) -> None:
    assert gallery("push").exit_code == 0
    stand_in.sources["gallery-ch"]["secureJsonData"] = {"password": "old"}
    done = gallery("push")
    assert isinstance(done.exception, GrafanaError)
    assert "the data source does not work yet" in str(done.exception)
    assert "unchanged" in done.output, "dashboards are pushed all the same"


@pytest.mark.stack
@pytest.mark.parametrize(("status", "said"), [(403, "You'll need additional permissions"), (500, "")])
def test_a_data_source_that_cannot_be_tried_is_told(
    gallery: Command, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, status: int, said: str
) -> None:
    def refuse(*_: Any) -> Any:
        raise No(status, said)

    monkeypatch.setattr(stand_in, "_client", refuse)
    done = gallery("push")
    assert isinstance(done.exception, GrafanaError)
    assert "the data source does not work yet" in str(done.exception)
    assert (said or str(status)) in str(done.exception)


def test_a_data_source_needs_an_address_and_a_password(stand_in: StandIn) -> None:
    here = Source("127.0.0.1", 8123, "reader", "gallery")
    with pytest.raises(SetupError, match="set GALLERY_READER_PASSWORD"):
        push(admin(stand_in), [], here)
    grafana = admin(stand_in)
    grafana.host = "grafana.example.com"
    with pytest.raises(SetupError, match="say where it finds ClickHouse"):
        push(grafana, [], replace(here, password="x"))
    stand_in.sources["gallery-ch"] = {"name": "Mine", "type": "prometheus", "secureJsonData": {}}
    with pytest.raises(GrafanaError, match="'Mine' of another kind \\(prometheus\\)"):
        push(grafana, [], here)


@pytest.mark.stack
def test_a_folder_of_this_name_is_taken_as_it_is(stand_in: StandIn, source: Source) -> None:
    stand_in.folders["from-alerts"] = {"uid": "from-alerts", "title": "Gallery Analytics"}
    grafana = admin(stand_in)
    assert by_name(push(grafana, BOARDS[:1], source))["Gallery Analytics"] == "unchanged"
    assert stand_in.dashboards["gallery"]["meta"]["folderUid"] == "from-alerts"
    moved = by_name(push(grafana, BOARDS[:1], source, folder="Events"))
    assert (moved["Events"], moved["Gallery"]) == ("created", "updated")
    assert list(stand_in.folders) == ["from-alerts", stand_in.dashboards["gallery"]["meta"]["folderUid"]]


def test_what_is_not_ours_is_refused_before_anything_is_written(stand_in: StandIn) -> None:
    stand_in.dashboards["sponsor"] = {
        "dashboard": {"title": "My own", "tags": ["mine"], "version": 3},
        "meta": {"provisioned": False},
    }
    with pytest.raises(GrafanaError, match="'My own' with the uid 'sponsor' that is not ours"):
        push(admin(stand_in), BOARDS, Source("127.0.0.1", 1, "reader", "gallery", "x"))
    stand_in.dashboards["sponsor"]["meta"] = {"provisioned": True, "provisionedExternalId": "sponsor.json"}
    with pytest.raises(GrafanaError, match=r"from a file \(sponsor\.json\).*take them away and push again"):
        push(admin(stand_in), BOARDS, Source("127.0.0.1", 1, "reader", "gallery", "x"))
    assert stand_in.writes == []


@pytest.mark.stack
def test_an_editor_pushes_dashboards_where_the_data_source_is_there(
    stand_in: StandIn, source: Source
) -> None:
    with pytest.raises(GrafanaError, match="role Editor, and Admin to add a data source"):
        push(admin(stand_in, "glsa_editor"), BOARDS, source)
    push(admin(stand_in), [], source)
    steps = push(admin(stand_in, "glsa_editor"), BOARDS, source)
    assert [step.done for step in steps] == ["kept", "unchanged", *(["created"] * len(BOARDS))]
    with pytest.raises(GrafanaError, match="the token may not do this"):
        push(admin(stand_in, "glsa_viewer"), BOARDS, source)


SETUPS: dict[str, tuple[dict[str, Any], str]] = {
    "old": ({"version": "11.6.2"}, "is Grafana 11.6.2; the dashboards need 12 or later"),
    "older, and tells nobody who a service account is": ({"version": "10.4.1"}, "is Grafana 10.4.1; the"),
    "old and hidden": ({"version": "11.6.2", "hide_version": True}, "is Grafana 11.6.2"),
    "no plugin": ({"plugin": None}, f"lacks the ClickHouse plugin: `grafana cli plugins install {PLUGIN}`"),
    "old plugin": ({"plugin": "3.3.0"}, "version 3.3.0 of the ClickHouse plugin; the dashboards need 4"),
    "no Grafana": ({"mood": "html"}, "does not answer as Grafana's API does"),
    "nothing of it": ({"mood": "html_404"}, "does not answer as Grafana's API does"),
    "a login before it": ({"mood": "html_401"}, "does not answer as Grafana's API does"),
    "sent on": ({"mood": "redirect"}, "sends us on to https://grafana.example.com/login: give the address"),
}


@pytest.mark.parametrize("setup", SETUPS)
def test_a_grafana_that_will_not_do_is_told(setup: str) -> None:
    how, text = SETUPS[setup]
    with running(StandIn(**how)) as grafana, pytest.raises(GrafanaError) as told:
        admin(grafana).check()
    assert text in str(told.value)


@pytest.mark.parametrize("anonymous", [False, True])
def test_a_wrong_token_is_told_also_where_anybody_may_look(anonymous: bool) -> None:
    with running(StandIn(anonymous=anonymous)) as grafana:
        wrong = admin(grafana, "glsa_wrong")
        if anonymous:
            assert wrong.get("/folders") == [], "it answers as the anonymous viewer, without an error"
        with pytest.raises(
            GrafanaError, match=r"does not know the token .* put it into GALLERY_GRAFANA_TOKEN"
        ):
            wrong.check()
        assert admin(grafana).check().login == "sa-1-admin"


def test_a_grafana_that_is_away_is_told(stand_in: StandIn) -> None:
    stand_in.mood = "slow"
    with pytest.raises(Unavailable, match="does not answer in time"):
        Grafana(stand_in.url, "glsa_admin", timeouts=(1, 0.05)).check()
    stand_in.mood = "proxy_error"
    with pytest.raises(Unavailable, match="HTTP 502"):
        admin(stand_in).check()
    with running(StandIn()) as gone:
        url = gone.url
    with pytest.raises(Unavailable, match=r"cannot be reached: .*refused"):
        Grafana(url, "glsa_admin").check()


def test_addresses_and_tokens(stand_in: StandIn) -> None:
    assert Grafana(f"{stand_in.url}/team/", "glsa_admin").check().version == "12.4.0"
    assert Grafana("https://[::1]/", "t").url == "https://[::1]"
    for url in ("grafana.example.com", "ftp://x", "http://", "http://h:99999", "https://h/?orgId=1"):
        with pytest.raises(SetupError, match="is no address of Grafana"):
            Grafana(url, "t")
    with pytest.raises(SetupError, match="has a user in it"):
        Grafana("https://me:secret@h", "t")
    for token in ("", "a b", "a\nb", "tökén"):
        with pytest.raises(SetupError, match="the token of Grafana is empty or has"):
            Grafana(stand_in.url, token)


def test_the_token_comes_from_a_file_the_environment_or_nowhere(
    gallery: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stand_in: StandIn
) -> None:
    file = tmp_path / "token"
    file.write_text("glsa_wrong\n")
    assert "does not know the token" in str(gallery("annotate", "--token-file", str(file)).exception)
    assert "cannot be read" in str(gallery("annotate", "--token-file", str(tmp_path / "no")).exception)
    monkeypatch.delenv("GALLERY_GRAFANA_TOKEN")
    assert "set GALLERY_GRAFANA_TOKEN" in str(gallery("push").exception)
    monkeypatch.delenv("GALLERY_GRAFANA_URL")
    assert "--url or GALLERY_GRAFANA_URL" in str(gallery("push").exception)
    there = ("push", "--url", stand_in.url, "--token-file", str(file))
    file.write_text("glsa_admin\n")
    for wrong in ("clickhouse", "clickhouse:", ":8123", "clickhouse:99999"):
        assert "write HOST:PORT" in str(gallery(*there, "--clickhouse", wrong).exception)
    assert stand_in.writes == []


@pytest.mark.stack
def test_campaigns_are_marked_once_and_move_with_what_is_sent(
    gallery: Command, stand_in: StandIn, writer: Client
) -> None:
    sent = {event.campaign_id: event for event in STORY if event.type == "campaign.sent"}
    assert gallery("push").exit_code == 0
    planned = gallery("annotate", "--dry-run")
    assert planned.output.count("would be created") == len(sent) > 0
    assert stand_in.annotations == []
    assert gallery("annotate").output.count("created") == len(sent)
    assert sorted(one["time"] for one in stand_in.annotations) == sorted(
        round(event.occurred_at.timestamp() * 1000) for event in sent.values()
    )
    assert {one["dashboardUID"] for one in stand_in.annotations} == {""}
    assert all("gallery-campaign" in one["tags"] for one in stand_in.annotations)
    assert gallery("annotate").output.count("unchanged") == len(sent)
    assert len(stand_in.annotations) == len(sent)

    first = min(sent.values(), key=lambda event: event.occurred_at)
    later = first.model_copy(
        update={"occurred_at": first.occurred_at + timedelta(minutes=5), "name": "<b>Again</b>"}
    )
    load(writer, [later])
    try:
        moved = gallery("annotate", "--gallery", first.gallery_id)
        assert moved.output.count("updated") == 1
        (mark,) = (one for one in stand_in.annotations if "Again" in one["text"])
        assert mark["time"] == round(later.occurred_at.timestamp() * 1000)
        assert mark["text"].startswith("&lt;b&gt;Again&lt;/b&gt; to ")
        assert len(stand_in.annotations) == len(sent)
    finally:
        last = first.model_copy(update={"occurred_at": later.occurred_at + timedelta(milliseconds=1)})
        load(writer, [last])

    on_one = gallery("annotate", "--gallery", first.gallery_id, "--dashboard", "gallery-compare")
    assert on_one.output.count("created") == sum(e.gallery_id == first.gallery_id for e in sent.values())
    assert sum(one["dashboardUID"] == "gallery-compare" for one in stand_in.annotations) > 0
    assert "no campaign was sent for nowhere" in str(gallery("annotate", "--gallery", "nowhere").exception)
    early = gallery("annotate", "--until", "2020-01-01")
    assert early.exit_code == 0
    assert "annotation " not in early.output
