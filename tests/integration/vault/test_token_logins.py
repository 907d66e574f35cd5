"""Logins to a real OpenBao with a token that others give the broker: Kubernetes' own, reviewed there, or a JWT."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from support.oidc import IssuerServer, claims, mint
from support.openbao import running_openbao, store_on, token_of
from support.token_review import TokenReviewer
from valetkey_broker.errors import BrokerError
from valetkey_devstack.openbao import ROLE, OpenBao

pytestmark = [pytest.mark.xdist_group("openbao-tokens"), pytest.mark.asyncio(loop_scope="module")]
_ACCOUNT = {"sub": "system:serviceaccount:vk:broker"}
_OF_VK = {"kubernetes.io": {"namespace": "vk", "serviceaccount": {"name": "broker", "uid": "7-8-9"}}}


@dataclass(frozen=True)
class Cluster:
    """An OpenBao that a cluster's tokens open: by review at its API server, and by the keys of its issuer."""

    bao: OpenBao
    reviewer: TokenReviewer
    issuer: IssuerServer

    def token(self, auth: str, **more: Any) -> str:
        """Returns a token of the broker's service account as the kubelet writes it, for one of the methods."""
        mine = {**_ACCOUNT, **_OF_VK, "aud": ["vault"], **more}
        return mint(claims(**mine)) if auth == "kubernetes" else self.issuer.mint(**mine)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    folder = tmp_path_factory.mktemp("tokens")
    issuer = IssuerServer(folder / "issuer")
    async with (
        running_openbao(folder) as bao,
        issuer.running(),
        TokenReviewer(folder / "api", issuer.signers[0], "reviewer").running() as reviewer,
    ):
        await asyncio.to_thread(_set_up, bao, reviewer, issuer)
        yield Cluster(bao, reviewer, issuer)


def _set_up(bao: OpenBao, reviewer: TokenReviewer, issuer: IssuerServer) -> None:
    """Does what docs/vault.md says."""
    admin = bao.admin()
    life = {"token_policies": [ROLE], "token_no_default_policy": True, "token_ttl": "2s", "token_max_ttl": "3s"}
    admin.sys.enable_auth_method("kubernetes")
    admin.write_data(
        "auth/kubernetes/config",
        data={
            "kubernetes_host": reviewer.url,
            "kubernetes_ca_cert": reviewer.ca.read_text(),
            "token_reviewer_jwt": "reviewer",
        },
    )
    account = {"bound_service_account_names": ["broker"], "bound_service_account_namespaces": ["vk"]}
    admin.write_data(f"auth/kubernetes/role/{ROLE}", data={**life, **account, "audience": "vault"})
    admin.sys.enable_auth_method("jwt", path="clusters/one")
    admin.write_data(
        "auth/clusters/one/config",
        data={"jwks_url": issuer.jwks_uri, "jwks_ca_pem": issuer.ca_file.read_text(), "bound_issuer": issuer.url},
    )
    bound = {"bound_audiences": ["vault"], "bound_subject": _ACCOUNT["sub"], "user_claim": "sub"}
    admin.write_data(f"auth/clusters/one/role/{ROLE}", data={"role_type": "jwt", **life, **bound})
    admin.adapter.close()


def by(auth: str, file: Path, **more: Any) -> dict[str, Any]:
    """Returns the settings of a login by token."""
    mount = "clusters/one" if auth == "jwt" else ""
    none = {"role_id_file": None, "secret_id_file": None}
    return {**none, "auth": auth, "role": ROLE, "jwt_file": file, "auth_mount": mount, **more}


@pytest.mark.parametrize("auth", ["kubernetes", "jwt"])
async def test_logs_in_anew_with_the_token_of_the_moment(cluster: Cluster, tmp_path: Path, auth: str) -> None:
    """A login that Vault ends is made anew, with the token as the kubelet has renewed it, without a failed call."""
    file = tmp_path / "token"
    file.write_text(cluster.token(auth) + "\n")
    async with store_on(cluster.bao, **by(auth, file)) as store:
        await store.open()
        assert await store.secret_id_end() is None
        first, second = token_of(store), cluster.token(auth, jti="second")
        file.write_text(second)
        async with asyncio.timeout(60):
            while token_of(store) == first:
                await store.read("generation")
                await asyncio.sleep(0.1)
        await store.read("generation")
    if auth == "kubernetes":
        assert cluster.reviewer.reviews[-1] == second


@pytest.mark.parametrize("auth", ["kubernetes", "jwt"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"sub": "system:serviceaccount:ml:trainer", "kubernetes.io": claims()["kubernetes.io"]},
        {"aud": ["valetkey"]},
        {"exp": 1_700_000_000},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_a_token_that_is_refused_is_told(
    cluster: Cluster, tmp_path: Path, auth: str, wrong: dict[str, Any]
) -> None:
    """Another's token, one for another audience, and one that has ended lead to the settings, and are not quoted."""
    file = tmp_path / "token"
    file.write_text(cluster.token(auth, **wrong))
    async with store_on(cluster.bao, **by(auth, file)) as store:
        with pytest.raises(BrokerError, match=r"refused the .*vault\.jwt_file.*vault\.role") as caught:
            await store.open()
    assert caught.value.metadata == {"cause": "login refused"}
    assert file.read_text() not in caught.value.message


async def test_an_unknown_role_and_mount_are_told(cluster: Cluster, tmp_path: Path) -> None:
    """A role that is not there, and a method that is mounted elsewhere, are refused logins, too."""
    file = tmp_path / "token"
    file.write_text(cluster.token("kubernetes"))
    for more in ({"role": "nobody"}, {"auth_mount": "elsewhere"}):
        async with store_on(cluster.bao, **by("kubernetes", file, **more)) as store:
            with pytest.raises(BrokerError, match=r"vault\.auth_mount") as caught:
                await store.open()
        assert caught.value.metadata == {"cause": "login refused"}


async def test_a_token_file_that_is_gone(cluster: Cluster, tmp_path: Path) -> None:
    """Without a token there is no login, and the file is named; the log of later ones has no token in it."""
    file = tmp_path / "token"
    async with store_on(cluster.bao, **by("kubernetes", file)) as store:
        with pytest.raises(BrokerError, match=r"vault\.jwt_file.*cannot be read") as caught:
            await store.open()
        assert caught.value.metadata == {"cause": "credential file"}
        file.write_text(cluster.token("kubernetes"))
        with capture_logs() as lines:
            await store.open()
    assert file.read_text() not in str(lines)
