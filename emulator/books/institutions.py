"""The institutions of the central bank that the emulator knows: enough to search in, far from all.

A constant list and its search. Codes are those of the central bank's public list of participants.
"""

from __future__ import annotations

from emulator.books.table import Row

# Read: Stark Bank's SPI code. Inferred from the official tests: "stark" finds two institutions. Inferred from
# the public list: 462 is the code of its credit company, so the payment institution has no TED code of its
# own ("either of these codes may be empty", Documented).
INSTITUTIONS: list[Row] = [
    {"displayName": name, "name": full, "spiCode": spi, "strCode": code}
    for name, full, spi, code in (
        ("Stark Bank", "STARK BANK S.A. - INSTITUICAO DE PAGAMENTO", "20018183", ""),
        ("Stark SCD", "STARK SOCIEDADE DE CREDITO DIRETO S.A.", "39908427", "462"),
        ("Banco do Brasil", "BCO DO BRASIL S.A.", "00000000", "001"),
        ("Itaú Unibanco", "ITAÚ UNIBANCO S.A.", "60701190", "341"),
        ("Bradesco", "BCO BRADESCO S.A.", "60746948", "237"),
        ("Caixa Econômica Federal", "CAIXA ECONOMICA FEDERAL", "00360305", "104"),
        ("Nubank", "NU PAGAMENTOS - IP", "18236120", "260"),
        ("Santander", "BCO SANTANDER (BRASIL) S.A.", "90400888", "033"),
        ("Inter", "BANCO INTER", "00416968", "077"),
        ("BTG Pactual", "BANCO BTG PACTUAL S.A.", "30306294", "208"),
        ("Sicoob", "BANCO SICOOB S.A.", "02038232", "756"),
        ("Banrisul", "BCO DO ESTADO DO RS S.A.", "92702067", "041"),
    )
]


def search(text: str, spi_codes: list[str] | None, str_codes: list[str] | None) -> list[Row]:
    """The institutions with this text in a name and one of these codes; empty or None means any."""
    wanted = text.lower()
    return [
        row
        for row in INSTITUTIONS
        if wanted in f"{row['displayName']} {row['name']}".lower()
        and (spi_codes is None or row["spiCode"] in spi_codes)
        and (str_codes is None or row["strCode"] in str_codes)
    ]


def name_of(spi_code: str) -> str:
    """The short name of an institution, or its code."""
    return next((str(row["displayName"]) for row in INSTITUTIONS if row["spiCode"] == spi_code), spi_code)
