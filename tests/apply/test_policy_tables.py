"""A group's policy goes before those for all, and among each an application's own before its class's."""

from __future__ import annotations

from itertools import permutations

from nf.apply.policies import tables
from nf.apps.signatures import Signatures
from nf.settings import Action, Policy, SubscriberGroup

SIGNATURES = Signatures.load()
NETFLIX, YOUTUBE, WHATSAPP = map(SIGNATURES.number, ("Netflix", "YouTube", "WhatsApp"))
STAFF, GUESTS = SubscriberGroup("staff", dnns=("enterprise",)), SubscriberGroup("guests", dnns=("guests",))
POLICIES = (
    Policy("all, its class", Action.TRUNCATE, app_class="video", snap_length=100),
    Policy("all, itself", Action.SUPPRESS, application="Netflix"),
    Policy("staff, its class", Action.COUNT, app_class="video", group="staff"),
)


class TestTables:
    """There is a table for subscribers in no group, and one for each group, by application number."""

    def test_whose_holds_whatever_their_order(self):
        for policies in permutations(POLICIES):
            everybody, staff, guests = tables(policies, (STAFF, GUESTS), SIGNATURES)

            assert (everybody[NETFLIX], everybody[YOUTUBE]) == ((Action.SUPPRESS, 0), (Action.TRUNCATE, 100))
            assert (staff[NETFLIX], staff[YOUTUBE]) == ((Action.COUNT, 0), (Action.COUNT, 0))
            assert guests == everybody, "no policy is theirs"

    def test_what_no_policy_names_is_in_no_table(self):
        for table in tables(POLICIES, (STAFF,), SIGNATURES):
            assert WHATSAPP not in table
            assert 0 not in table

    def test_without_policies_there_is_an_empty_table_for_all(self):
        assert tables((), (), SIGNATURES) == [{}]
