"""Who publishes the addresses that many strangers share: where, in which format, and what each tag of theirs means.

One table. A tag that a row does not name gets `otherwise`: what no row calls a front end is none, whatever a vendor
adds tomorrow, and a superset of all that a cloud has (AMAZON, AzureCloud) makes no tenant a front end. Addresses are
given as published; the vendor files carry no licence, and are fetched, never shipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from clearway.errors import ClearwayError
from clearway.policy.shared_sources import Claim

FRONT_END, SINGLE_TENANT, VENDOR = Claim.FRONT_END, Claim.SINGLE_TENANT, Claim.VENDOR


@dataclass(frozen=True, slots=True)
class Vendor:
    """One row."""

    name: str
    title: str
    format: str
    """As `feed formats` has it. A list of the vendor in another format has no tags: all of it is `otherwise`."""
    urls: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Name of a source → where it is. Empty: there is no address that stays the same."""
    tags: Mapping[str, Claim] = field(default_factory=dict, hash=False)
    """Pattern of a tag → what its ranges are; the first that fits."""
    otherwise: Claim = FRONT_END
    names: tuple[str, ...] = ()
    """Suffixes of names by which a host is seen to be this vendor's."""
    note: str = ""
    """What a person should know of it."""

    def claim_of(self, tag: str) -> Claim:
        """What ranges of that tag are."""
        return next((claim for pattern, claim in self.tags.items() if fnmatchcase(tag, pattern)), self.otherwise)


_MISP = "https://raw.githubusercontent.com/MISP/misp-warninglists/main/lists"


def _front(*tags: str) -> dict[str, Claim]:
    return dict.fromkeys(tags, FRONT_END)


_AWS = _front(
    "CLOUDFRONT", "CLOUDFRONT_ORIGIN_FACING", "GLOBALACCELERATOR", "S3", "API_GATEWAY", "DYNAMODB", "ROUTE53",
    "ROUTE53_HEALTHCHECKS", "ROUTE53_HEALTHCHECKS_PUBLISHING", "ROUTE53_RESOLVER", "CHIME_MEETINGS",
    "CHIME_VOICECONNECTOR", "AMAZON_CONNECT", "AMAZON_APPFLOW", "AURORA_DSQL", "EBS", "IVS_REALTIME",
    "KINESIS_VIDEO_STREAMS", "MEDIA_PACKAGE_V2", "WORKSPACES_GATEWAYS",
)  # fmt: skip
"""Services that all customers reach at the same addresses. EC2 is let, and so are machines that run a customer's code
(CLOUD9, CODEBUILD); AMAZON holds everything, the tenants too."""

_AZURE = _front(
    "AzureFrontDoor*", "Storage", "Storage.*", "AppService", "AppService.*", "AzureTrafficManager",
    "AzureActiveDirectory*", "AzureContainerRegistry*", "MicrosoftContainerRegistry*", "AzureKeyVault*",
    "AzureCosmosDB*", "Sql", "Sql.*", "ServiceBus*", "EventHub*", "AzureEventGrid*", "AzureSignalR*", "AzureWebPubSub*",
    "AzureIoTHub*", "AzureDevOps*", "AzureUpdateDelivery*", "AzurePortal*", "AzureResourceManager*", "AzureMonitor*",
    "AzureCognitiveSearch*", "AzureBotService*", "AzureAttestation*", "AzureDataLake*", "AzureOpenDatasets*",
    "PowerBI*", "PowerPlatformInfra*", "PowerPlatformPlex*", "PowerQueryOnline*", "LogicApps", "LogicApps.*",
    "AzureConnectors*", "ApiManagement*", "WindowsVirtualDesktop*", "Dynamics365*", "M365*",
    "MicrosoftCloudAppSecurity*", "MicrosoftDefenderForEndpoint*", "CognitiveServicesFrontend*",
    "OneDsCollector*", "EOPExternalPublishedIPs*",
)  # fmt: skip
"""Services behind shared addresses. AzureCloud, by region or whole, holds every machine that is let."""

_CDNCHECK = {
    "cdn google": VENDOR,
    "cdn *": FRONT_END,
    "waf *": FRONT_END,
    "cloud office365": FRONT_END,
    "cloud zscaler": FRONT_END,
}

VENDORS: Mapping[str, Vendor] = {
    row.name: row
    for row in (
        Vendor(
            "akamai", "Akamai", "misp-warninglist", {"akamai": f"{_MISP}/akamai/list.json"},
            names=("akamai.net", "akamaiedge.net", "akamaihd.net", "akadns.net", "edgekey.net", "edgesuite.net"),
            note="Akamai publishes no list. Most of its machines stand in carriers' networks, and are in none",
        ),
        Vendor(
            "apple", "Apple", "misp-warninglist", {"apple": f"{_MISP}/apple/list.json"},
            names=("aaplimg.com", "apple-dns.net"),
        ),
        Vendor(
            "aws", "Amazon Web Services", "aws-json", {"aws": "https://ip-ranges.amazonaws.com/ip-ranges.json"},
            _AWS, SINGLE_TENANT, names=("cloudfront.net", "awsglobalaccelerator.com", "amazonaws.com", "awsdns.com"),
        ),
        Vendor(
            "azure", "Microsoft Azure", "azure-json", {}, _AZURE, SINGLE_TENANT,
            names=(
                "azurefd.net", "azureedge.net", "t-msedge.net", "a-msedge.net", "msedge.net", "trafficmanager.net",
                "blob.core.windows.net", "azurewebsites.net", "cloudapp.net", "cloudapp.azure.com",
            ),
            note="Microsoft gives its file a new address every week: download ServiceTags_Public_….json "
            "(https://www.microsoft.com/download/details.aspx?id=56519) and add that file",
        ),
        Vendor(
            "bunny", "bunny.net", "misp-warninglist", {"bunny": f"{_MISP}/bunny-net/list.json"}, names=("b-cdn.net",)
        ),
        Vendor(
            "cdncheck", "several, by ProjectDiscovery's cdncheck", "cdncheck-json",
            {"cdncheck": "https://raw.githubusercontent.com/projectdiscovery/cdncheck/main/sources_data.json"},
            _CDNCHECK, SINGLE_TENANT, names=("incapdns.net", "impervadns.net", "gcdn.co"),
        ),
        Vendor(
            "cloudflare", "Cloudflare", "cidr-lines",
            {
                "cloudflare-v4": "https://www.cloudflare.com/ips-v4",
                "cloudflare-v6": "https://www.cloudflare.com/ips-v6",
            },
            names=("cloudflare.net", "cdn.cloudflare.net", "pages.dev", "workers.dev", "r2.dev"),
        ),
        Vendor(
            "digitalocean", "DigitalOcean", "rfc8805-geofeed",
            {"digitalocean": "https://www.digitalocean.com/geo/google.csv"}, otherwise=SINGLE_TENANT,
        ),
        Vendor(
            "fastly", "Fastly", "fastly-json", {"fastly": "https://api.fastly.com/public-ip-list"},
            names=("fastly.net", "fastlylb.net", "fastly-edge.com"),
        ),
        Vendor(
            "github", "GitHub", "github-json", {"github": "https://api.github.com/meta"},
            _front(
                "web", "api", "git", "hooks", "packages", "pages", "importer", "github_enterprise_importer",
                "dependabot", "cop*",
            ),
            SINGLE_TENANT, names=("github.io", "github.com", "githubusercontent.com"),
        ),
        Vendor(
            "google", "Google", "google-json", {"google": "https://www.gstatic.com/ipranges/goog.json"}, {}, VENDOR,
            names=("1e100.net", "googlehosted.com", "googleusercontent.com", "ghs.googlehosted.com"),
            note="front ends are what is here and not let by google-cloud: add both",
        ),
        Vendor(
            "google-cloud", "Google Cloud", "google-json",
            {"google-cloud": "https://www.gstatic.com/ipranges/cloud.json"}, {}, SINGLE_TENANT,
        ),
        Vendor(
            "linode", "Akamai Connected Cloud (Linode)", "rfc8805-geofeed", {"linode": "https://geoip.linode.com/"},
            otherwise=SINGLE_TENANT,
        ),
        Vendor(
            "office365", "Microsoft 365", "misp-warninglist",
            {"office365": f"{_MISP}/microsoft-office365-ip/list.json"}, names=("office.com", "office365.com"),
        ),
        Vendor(
            "oracle", "Oracle Cloud", "oracle-json",
            {"oracle": "https://docs.oracle.com/en-us/iaas/tools/public_ip_ranges.json"},
            _front("*OSN*", "*OBJECT_STORAGE*"), SINGLE_TENANT, names=("oraclecloud.com",),
        ),
        Vendor(
            "stackpath", "StackPath", "misp-warninglist", {"stackpath": f"{_MISP}/stackpath/list.json"},
            names=("stackpathdns.com", "stackpathcdn.com", "hwcdn.net"),
        ),
        Vendor(
            "vultr", "Vultr", "rfc8805-geofeed", {"vultr": "https://geofeed.constant.com/?text"},
            otherwise=SINGLE_TENANT,
        ),
        Vendor(
            "wikimedia", "Wikimedia", "misp-warninglist", {"wikimedia": f"{_MISP}/wikimedia/list.json"},
            names=("wikimedia.org",),
        ),
    )
}  # fmt: skip
"""By name."""


def vendor_of(name: str) -> Vendor:
    """The row of that name, or of a source of that name. Raises feeds.E046."""
    bare = name.strip().lower()
    row = VENDORS.get(bare) or next((row for row in VENDORS.values() if bare in row.urls), None)
    if row is None:
        raise ClearwayError.of("feeds.E046", value=name, known=", ".join(VENDORS))
    return row


def vendor_of_name(name: str) -> Vendor | None:
    """Whose host a name is, by its end; None: it does not show."""
    bare = "." + name.rstrip(".").lower()
    return next((row for row in VENDORS.values() if any(bare.endswith(f".{suffix}") for suffix in row.names)), None)
