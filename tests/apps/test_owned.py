"""Names that no file lists: a brand's in other countries, and labels of an owner's other applications.

Expected values are public knowledge, and told beside each name. None of the names is in a capture at hand.
"""

from __future__ import annotations

import pytest

from nf.apps.signatures import Signatures
from nf.settings import Application

SHIPPED = Signatures.load()


def app(name: str) -> str:
    return SHIPPED.name(SHIPPED.match(name)) if SHIPPED.match(name) else ""


class TestCountries:
    """A brand's name under the domain of a country is its owner's, as are the applications below it."""

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("www.amazon.co.jp", "Amazon"),  # Amazon's shops: amazon.com, "Amazon global stores"
            ("www.amazon.com.mx", "Amazon"),
            ("www.amazon.pl", "Amazon"),
            ("music.amazon.com.au", "AmazonMusic"),  # Amazon Music in Australia
            ("www.google.co.za", "Google"),  # google.com/supported_domains
            ("www.google.com.vn", "Google"),
            ("maps.google.ie", "GoogleMaps"),
            ("www.ebay.com.au", "eBay"),  # eBay's local sites
            ("www.ebay.at", "eBay"),
            ("www.paypal.de", "PayPal"),  # leads to paypal.com/de
            ("www.zalando.nl", "Zalando"),  # Zalando's shops
            ("shopee.co.th", "Shopee"),  # Shopee's markets
            ("www.lazada.com.my", "Lazada"),
            ("www.airbnb.com.br", "Airbnb"),
            ("www.expedia.co.kr", "Expedia"),
            ("www.tripadvisor.com.tr", "TripAdvisor"),
            ("www.pinterest.ch", "Pinterest"),
            ("www.skyscanner.com.hk", "Skyscanner"),
            ("articulo.mercadolibre.com.uy", "MercadoLibre"),
            ("www.eurosport.hu", "Eurosport"),
            ("www.vinted.lt", "Vinted"),
        ],
    )
    def test_of_a_brand(self, name: str, expected: str) -> None:
        assert app(name) == expected

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("teams.cloud.microsoft", "Teams"),  # Microsoft 365's unified domain
            ("outlook.cloud.microsoft", "Outlook"),
            ("about.google", "Google"),  # top-level domains of a brand (ICANN, specification 13)
            ("blog.youtube", "YouTube"),
        ],
    )
    def test_of_a_brand_with_a_top_level_domain(self, name: str, expected: str) -> None:
        assert app(name) == expected

    @pytest.mark.parametrize(
        "name",
        [
            *(
                "target.de",
                "www.visa.fr",
                "zoom.de",
                "signal.be",
                "wire.nl",
                "spiegel.ch",
                "pandora.dk",
                "line.fr",
            ),  # words
            *("www.elpais.com.uy", "kleinanzeigen.ch", "alibaba.at"),  # El Pais of Montevideo; other people's
            *("paypal.tk", "netflix.ml", "whatsapp.cc", "amazon.io"),  # of no country, or given away
            *("amazon-login.de", "netflix-konto.fr", "xn--mazon-3ve.fr", "amazonn.it", "ebay-kauf.at"),  # look-alikes
            *("www.amazon.co.jp.evil.ru", "paypal.de.sicher.net", "google.fr.example.org"),  # below somebody else
            *("amazon.gov.br", "google.edu.pl", "paypal.or.jp"),  # not of companies
            *("co.uk", "com.br", "de", "amazon", "", "."),
        ],
    )
    def test_of_somebody_else(self, name: str) -> None:
        assert app(name) == ""

    def test_what_the_operator_writes_goes_before_it_and_stays_as_written(self) -> None:
        mine = Application("Shop", "web", ("amazon.co.jp", "brandnew.com"))
        signatures = Signatures.load([mine])

        assert signatures.name(signatures.match("www.amazon.co.jp")) == "Shop"
        assert signatures.match("www.brandnew.de") == 0
        assert signatures.name(signatures.match("www.amazon.fr")) == "Amazon"

    def test_it_says_by_what(self) -> None:
        assert SHIPPED.suffix_of("www.amazon.co.jp") == ("amazon.co.jp", SHIPPED.number("Amazon"))
        assert SHIPPED.suffix_of("teams.cdn.office.net") == ("teams", SHIPPED.number("Teams"))


class TestLabels:
    """The label of another of an owner's applications, in the owner's network, says which one it is."""

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("teams.events.data.microsoft.com", "Teams"),  # telemetry of Teams
            ("api.teams.skype.com", "Teams"),
            ("teams.cdn.office.net", "Teams"),
            ("instagram.fmuc3-1.fna.fbcdn.net", "Instagram"),  # caches of Meta in other networks
            ("instagram-p3-shv-01-fra3.fbcdn.net", "Instagram"),
            ("whatsapp-cdn-shv-01-ber1.fbcdn.net", "WhatsApp"),
            ("youtube-ui.l.google.com", "YouTube"),
            ("ytimg.l.google.com", "YouTube"),
            ("xbox.ipv6.microsoft.com", "XboxLive"),
            ("outlook.ha.office365.com", "Outlook"),
            ("skype-calling.live.com", "Skype"),
        ],
    )
    def test_goes_before_the_network(self, name: str, expected: str) -> None:
        assert app(name) == expected

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("video.fmuc3-1.fna.fbcdn.net", "Facebook"),
            ("scontent.xx.fbcdn.net", "Facebook"),
            ("facebook.instagram.com", "Instagram"),  # the network's own name says nothing
            ("microsoft.github.com", "GitHub"),
            ("myteams.microsoft.com", "Microsoft"),  # a part of a label
            ("lines.naver.com", "Naver"),
            ("twitch.netflix.com", "Netflix"),  # of another owner
            ("teams.example.org", ""),  # in nobody's network
            ("instagram.com.evil.org", ""),
        ],
    )
    def test_but_no_other_label(self, name: str, expected: str) -> None:
        assert app(name) == expected
