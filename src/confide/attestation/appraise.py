"""From a verified platform to a yes or a no under a policy's requirements. Pure; the numbers are those of
docs/attestation.md."""

from __future__ import annotations

from confide.attestation.amd.report import PlatformBit, PolicyBit
from confide.attestation.claims import Platform, Tee
from confide.attestation.requirements import AMD, INTEL, OUTDATED, RESTRICTIONS, PlatformRequirements
from confide.errors import PlatformRefused

DAY_S = 24 * 3600
_SEPT_VE_DISABLE = 1 << 28  # Intel TDX Module ABI specification, ATTRIBUTES


def appraise(tee: Tee, platform: Platform, demanded: PlatformRequirements, now: int) -> None:
    """Hold a verified platform against what a policy demands.

    1. It cannot be inspected from outside (no debug).
    2. What it was verified with has not expired.
    3. Its hardware id is listed, where the policy lists any.
    4. Every register that the policy names has one of the listed values; an SGX product id is the one named.
    5. Its TCB status is accepted; an outdated one only within the days of grace after its TCB level's date.
    6. Every advisory that it is open to is accepted.
    7. TCB evaluation number, and every TCB component, are at least the lowest accepted. AMD: the product is listed, and
       its components are those that the policy names, no more and no fewer.
    8. Hyperthreads are accepted unless the evidence states that they are off; a dynamic platform and cached keys where
       it states them. AMD: memory was checked for aliased addresses, and the mitigations are in force that are named.
    9. AMD: the VMPL and the guest policy are within what is accepted. TDX: SEPT_VE_DISABLE is set, unless the
       policy lists `td_attributes`: without it the host can inject exceptions into the guest.

    Args:
        tee: whose evidence it was.
        platform: of verified evidence.
        demanded: valid for `tee`.
        now: Unix seconds.

    Raises:
        PlatformRefused: names the step.
    """
    if platform.debug:
        _refuse(1, "it can be inspected from outside (debug)")
    if now >= platform.expires:
        _refuse(2, "its collateral or certificate has expired since it was verified")
    _check_identity(platform, demanded)
    if tee in INTEL and platform.tcb.status not in demanded.status:
        said = platform.tcb.status or "unknown"
        _refuse(5, f"TCB status {said} is not accepted (accepted: {', '.join(demanded.status)})")
    _check_tcb(platform, demanded, now)
    if tee is not Tee.TPM:
        _check_settings(platform, demanded)
    if tee in AMD:
        _check_machine(platform, demanded)
    if tee in AMD:
        _check_guest_policy(platform, demanded)
    if tee in (Tee.TDX, Tee.AZURE_TDX) and "td_attributes" not in demanded.registers:
        _check_td_attributes(platform)


def _check_identity(platform: Platform, demanded: PlatformRequirements) -> None:
    if demanded.hardware_ids is not None and not set(platform.hardware_ids) & set(demanded.hardware_ids):
        said = (
            " ".join(platform.hardware_ids)
            or "not told (hidden, or signed by a VLEK, which is no machine's own)"
        )
        _refuse(3, f"hardware id {said} is not listed")
    for name, values in demanded.registers.items():
        value = platform.registers.get(name)
        if value is None or value not in values:
            _refuse(4, f"{name} is {value or 'not in the evidence'}, which is not listed")
    product = platform.numbers.get("isv_prod_id")
    if demanded.isv_prod_id is not None and product != demanded.isv_prod_id:
        _refuse(4, f"isv_prod_id is {product}, not {demanded.isv_prod_id}")


def _check_tcb(platform: Platform, demanded: PlatformRequirements, now: int) -> None:
    tcb = platform.tcb
    if tcb.status in OUTDATED and (tcb.date is None or now >= tcb.date + demanded.grace_days * DAY_S):
        _refuse(5, f"TCB status {tcb.status}, and its {demanded.grace_days} days of grace are over")
    if missing := sorted(set(tcb.advisories) - set(demanded.advisories)):
        _refuse(6, f"open to {', '.join(missing)}, which the policy does not accept")
    if tcb.evaluation < demanded.minimum_evaluation:
        _refuse(7, f"TCB evaluation {tcb.evaluation}, at least {demanded.minimum_evaluation} is demanded")
    if demanded.products and tcb.product not in demanded.products:
        _refuse(
            7, f"a {tcb.product or 'machine of unknown product'}, accepted: {', '.join(demanded.products)}"
        )
    if demanded.minimum_tcb and tcb.components.keys() != demanded.minimum_tcb.keys():
        _refuse(7, f"TCB components {', '.join(tcb.components)}, not those of minimum_tcb")
    for name, lowest in demanded.minimum_tcb.items():
        version = tcb.components[name]
        if version < lowest:
            _refuse(7, f"TCB component {name} is {version}, at least {lowest} is demanded")


def _check_settings(platform: Platform, demanded: PlatformRequirements) -> None:
    tcb = platform.tcb
    if tcb.smt is not False and not demanded.allow_smt:
        said = "hyperthreads are on" if tcb.smt else "the evidence does not say that hyperthreads are off"
        _refuse(8, f"{said} (allow_smt)")
    if tcb.dynamic_platform and not demanded.allow_dynamic_platform:
        _refuse(8, "packages can be added to the platform (allow_dynamic_platform)")
    if tcb.cached_keys and not demanded.allow_cached_keys:
        _refuse(8, "platform keys are cached by a registration server (allow_cached_keys)")


def _check_machine(platform: Platform, demanded: PlatformRequirements) -> None:
    checked = platform.numbers["platform_info"] & PlatformBit.ALIAS_CHECK_COMPLETE
    if not checked and not demanded.allow_unchecked_aliases:
        _refuse(8, "memory was not checked for aliased addresses (allow_unchecked_aliases)")
    if (mask := demanded.mitigations) is not None:
        launch, current = (platform.numbers.get(f"{when}_mit_vector", 0) for when in ("launch", "current"))
        if launch & current & mask != mask:
            _refuse(8, f"mitigations in force are {launch & current:#x}, not all of {mask:#x}")


def _check_guest_policy(platform: Platform, demanded: PlatformRequirements) -> None:
    vmpl, policy = platform.numbers["vmpl"], platform.numbers["policy"]
    if vmpl > demanded.highest_vmpl:
        _refuse(9, f"asked for from VMPL {vmpl}, at most {demanded.highest_vmpl} is accepted")
    if policy & PolicyBit.SMT and not demanded.allow_smt:
        _refuse(9, "the guest policy admits hyperthreads (allow_smt)")
    if policy & PolicyBit.MIGRATE_MA and not demanded.allow_migration:
        _refuse(9, "the guest policy admits a migration agent (allow_migration)")
    if policy & PolicyBit.CXL_ALLOW and not demanded.allow_cxl:
        _refuse(9, "the guest policy admits CXL (allow_cxl)")
    for name in demanded.guest_policy:
        if not policy & RESTRICTIONS[name]:
            _refuse(9, f"the guest policy lacks {name}")


def _check_td_attributes(platform: Platform) -> None:
    attributes = int.from_bytes(bytes.fromhex(platform.registers["td_attributes"]), "little")
    if not attributes & _SEPT_VE_DISABLE:
        _refuse(9, "td_attributes lacks SEPT_VE_DISABLE, and the policy does not list td_attributes")


def _refuse(step: int, reason: str) -> None:
    raise PlatformRefused(f"platform, step {step}: {reason}")
