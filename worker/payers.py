"""Fictitious payers with believable Brazilian names and valid tax ids, and the amounts that they owe.

Everything comes from the random that is handed in: the same seed gives the same payers with every version of every
library, which is why the names are listed here. None of them is a real person or company.
"""

from collections.abc import Sequence
from random import Random

from payments.invoice import Payer

# One payer in five is a company.
COMPANY_ODDS = 5

# The destination's own root: an invoice must never name Stark Bank as its payer.
_DESTINATION_ROOT = "20018183"


def random_payers(random: Random, count: int) -> list[Payer]:
    """Return ``count`` payers, about four people to one company, no name and no tax id twice."""
    payers: list[Payer] = []
    names: set[str] = set()
    tax_ids: set[str] = set()
    while len(payers) < count:
        payer = _random_company(random) if random.randrange(COMPANY_ODDS) == 0 else _random_person(random)
        if payer.name not in names and payer.tax_id not in tax_ids:
            names.add(payer.name)
            tax_ids.add(payer.tax_id)
            payers.append(payer)
    return payers


def random_amounts(random: Random, count: int, min_centavos: int, max_centavos: int) -> list[int]:
    """Return ``count`` amounts in centavos, each from ``min_centavos`` to ``max_centavos``, both included."""
    return [random.randint(min_centavos, max_centavos) for _ in range(count)]


def _random_person(random: Random) -> Payer:
    first = random.choice(random.choice((_WOMEN, _MEN)))
    middle, last = random.choice(_SURNAMES), random.choice(_SURNAMES + _LAST_SURNAMES)
    surnames = last if middle in last else f"{middle} {last}"
    return Payer(f"{first} {surnames}", _cpf(_digits(random, 9)))


def _random_company(random: Random) -> Payer:
    trade = random.choice(_TRADES)
    name = f"{trade} {' & '.join(random.sample(_SURNAMES, random.choice((1, 2))))} {random.choice(_FORMS)}"
    while (root := "".join(map(str, _digits(random, 8)))) == _DESTINATION_ROOT:
        continue
    # 0001 is a company's head office.
    return Payer(name, _cnpj([*map(int, root), 0, 0, 0, 1]))


def _digits(random: Random, count: int) -> list[int]:
    # The first is not 0, because tables and spreadsheets drop it; and not all nine are the same, because
    # 111.111.111-11 has right check digits and is refused all the same.
    digits = [random.randint(1, 9), *(random.randint(0, 9) for _ in range(count - 1))]
    return digits if len(set(digits)) > 1 else _digits(random, count)


# Receita Federal: each check digit is 11 minus the weighted sum modulo 11, or 0 where that is 10 or 11.
_CPF_WEIGHTS = (11, 10, 9, 8, 7, 6, 5, 4, 3, 2)
_CNPJ_WEIGHTS = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)


def _cpf(digits: list[int]) -> str:
    text = _checked(digits, _CPF_WEIGHTS)
    return f"{text[:3]}.{text[3:6]}.{text[6:9]}-{text[9:]}"


def _cnpj(digits: list[int]) -> str:
    # Digits only: CNPJs with letters exist since July 2026, and whether the bank takes them is unknown.
    text = _checked(digits, _CNPJ_WEIGHTS)
    return f"{text[:2]}.{text[2:5]}.{text[5:8]}/{text[8:12]}-{text[12:]}"


def _checked(digits: list[int], weights: Sequence[int]) -> str:
    whole = list(digits)
    for _ in range(2):
        total = sum(digit * weight for digit, weight in zip(whole, weights[-len(whole) :], strict=True))
        rest = 11 - total % 11
        whole.append(rest if rest < 10 else 0)
    return "".join(map(str, whole))


# --- below: common names (any school register, and any high street) ---

_WOMEN = (
    *("Adriana", "Alice", "Aline", "Amanda", "Ana Júlia", "Ana Luíza", "Antônia", "Beatriz", "Bianca"),
    *("Bruna", "Camila", "Cecília", "Cláudia", "Conceição", "Débora", "Eduarda", "Elisângela", "Fabiana"),
    *("Fátima", "Fernanda", "Flávia", "Francisca", "Gabriela", "Heloísa", "Isabela", "Jéssica", "Joana"),
    *("Juliana", "Júlia", "Larissa", "Letícia", "Luíza", "Luciana", "Luzia", "Márcia", "Manuela"),
    *("Maria Aparecida", "Maria Eduarda", "Mariana", "Marlene", "Mônica", "Natália", "Patrícia", "Rafaela"),
    *("Raquel", "Regina", "Renata", "Rosângela", "Sandra", "Simone", "Sônia", "Tatiane", "Valéria"),
)
_MEN = (
    *("Adriano", "Alexandre", "Anderson", "André", "Antônio", "Arthur", "Augusto", "Bernardo", "Bruno"),
    *("Caio", "Carlos", "César", "Cláudio", "Daniel", "Davi", "Diego", "Edson", "Eduardo", "Enzo", "Fábio"),
    *("Felipe", "Fernando", "Flávio", "Francisco", "Gabriel", "Guilherme", "Gustavo", "Heitor", "Henrique"),
    *("Hugo", "Igor", "João Pedro", "João Vítor", "Joaquim", "Jorge", "José Carlos", "Júlio", "Leandro"),
    *("Leonardo", "Lucas", "Luís Felipe", "Luiz", "Marcelo", "Márcio", "Mateus", "Maurício", "Miguel"),
    *("Otávio", "Paulo", "Pedro", "Rafael", "Raimundo", "Ricardo", "Rodrigo", "Rogério", "Sebastião"),
    *("Sérgio", "Thiago", "Valdir", "Vinícius", "Wagner"),
)
_SURNAMES = (
    *("Abreu", "Albuquerque", "Almeida", "Alves", "Amaral", "Andrade", "Antunes", "Aragão", "Araújo"),
    *("Assunção", "Azevedo", "Barbosa", "Barros", "Batista", "Bezerra", "Borges", "Brandão", "Brito"),
    *("Cabral", "Câmara", "Camargo", "Campos", "Cardoso", "Carvalho", "Castro", "Cavalcanti", "Coelho"),
    *("Conceição", "Correia", "Costa", "Cunha", "Dias", "Duarte", "Esteves", "Farias", "Ferreira"),
    *("Figueiredo", "Fonseca", "Freitas", "Furtado", "Galvão", "Gomes", "Gonçalves", "Guimarães", "Leão"),
    *("Lima", "Lopes", "Macedo", "Machado", "Magalhães", "Marques", "Martins", "Medeiros", "Melo"),
    *("Mendes", "Menezes", "Miranda", "Monteiro", "Moraes", "Moreira", "Moura", "Nascimento", "Nogueira"),
    *("Nunes", "Oliveira", "Paixão", "Pereira", "Pinheiro", "Pinto", "Queirós", "Ramos", "Rezende"),
    *("Ribeiro", "Rocha", "Rodrigues", "Sá", "Sales", "Santana", "Santos", "Saraiva", "Silva", "Silveira"),
    *("Simões", "Siqueira", "Soares", "Sousa", "Tavares", "Teixeira", "Vasconcelos", "Vieira", "Xavier"),
)
_LAST_SURNAMES = (
    *("da Conceição", "da Costa", "da Cunha", "da Rocha", "da Silva", "da Silveira", "de Almeida"),
    *("de Andrade", "de Araújo", "de Carvalho", "de Castro", "de Freitas", "de Lima", "de Oliveira"),
    *("de Sá", "de Sousa", "do Amaral", "do Nascimento", "dos Reis", "dos Santos"),
)
_TRADES = (
    *("Açougue", "Auto Peças", "Clínica", "Comércio de Grãos", "Confecções", "Construtora", "Distribuidora"),
    *("Editora", "Farmácia", "Ferragens", "Gráfica", "Laticínios", "Livraria", "Marcenaria"),
    *("Materiais de Construção", "Mecânica", "Mercearia", "Móveis", "Ótica", "Padaria e Confeitaria"),
    *("Papelaria", "Restaurante", "Serviços Médicos", "Transportes", "Vidraçaria"),
)
_FORMS = ("Ltda.", "Ltda.", "Ltda.", "ME", "EPP")
