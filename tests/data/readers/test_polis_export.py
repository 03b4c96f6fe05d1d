"""A conversation in the files that Polis exports, made up by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluralign.data.join import joined
from pluralign.data.readers import registry
from pluralign.data.record import Rater, Vote, user
from pluralign.errors import DataError

COMMENTS = "timestamp,comment-id,author-id,agrees,disagrees,moderated,comment-body\n1,0,5,2,0,1,More trees\n2,1,5,0,1,1,Fewer cars\n"
VOTES = "participant,group-id,n-comments,n-votes,n-agree,n-disagree,0,1\n3,1,0,2,1,1,1,-1\n4,,1,1,0,0,,0\n"


@pytest.fixture
def votes(tmp_path: Path) -> Path:
    """The votes; the comments and the summary beside them."""
    folder = tmp_path / "town"
    folder.mkdir()
    (folder / "comments.csv").write_text(COMMENTS)
    (folder / "summary.csv").write_text('topic,"Trees, or cars?"\nurl,https://example.org\n')
    (folder / "participants-votes.csv").write_text(VOTES)
    return folder / "participants-votes.csv"


def test_participants_by_hand(votes: Path) -> None:
    dataset = registry.read(votes)
    first, second = dataset
    assert dataset.reader == "polis_export" and first.messages == user("Trees, or cars?")
    rater = Rater(id="town/3", group="town/1")
    assert [(reply.text, reply.votes) for reply in first.responses] == [
        ("More trees", (Vote("agree", 1, rater),)),
        ("Fewer cars", (Vote("disagree", 1, rater),)),
    ]
    assert [reply.votes for reply in second.responses] == [(Vote("pass", 1, Rater(id="town/4")),)]
    assert second.extra == {
        "conversation": "town",
        "n-comments": "1",
        "n-votes": "1",
        "n-agree": "0",
        "n-disagree": "0",
    }
    (whole,) = joined(dataset)
    assert [[vote.choice for vote in reply.votes] for reply in whole.responses] == [["agree"], ["disagree", "pass"]]


def test_the_folder_is_the_topic_without_a_summary(votes: Path) -> None:
    (votes.parent / "summary.csv").unlink()
    assert next(iter(registry.read(votes))).messages == user("town")


def test_what_is_wrong_with_an_export(votes: Path) -> None:
    for row, says in [("5,0,0,1,1,0,2,", "comment 0 must be 1"), (",0,0,1,1,0,1,", "participant must be a number")]:
        votes.write_text(VOTES + row + "\n")
        with pytest.raises(DataError, match=f":4: .*{says}"):
            list(registry.read(votes))
    votes.write_text(VOTES.replace("n-disagree,0,1", "n-disagree,0,7"))
    with pytest.raises(DataError, match=r"comment 7 is not in comments\.csv"):
        list(registry.read(votes))
    (votes.parent / "comments.csv").write_text("comment-id\n1\n")
    with pytest.raises(
        DataError, match=r"comments.csv:2: expected the columns comment-id, comment-body; found comment-id"
    ):
        registry.read(votes)
    (votes.parent / "comments.csv").unlink()
    with pytest.raises(DataError, match="put it there"):
        registry.read(votes)
