"""Fictitious payers with believable Brazilian names and valid tax ids, and the amounts that they owe.

Everything comes from the random that is handed in: the same seed gives the same payers with every version of every
library, which is why the names are listed here. None of them is a real person or company.
"""

import string
from random import Random

from payments.invoice import Payer
from payments.tax_id import cnpj, cpf

# One payer in five is a company.
COMPANY_ODDS = 5

# The destination's own root: an invoice must never name Stark Bank as its payer.
_DESTINATION_ROOT = "20018183"


def random_payers(random: Random, count: int, *, have_letters: bool = False) -> list[Payer]:
    """Return ``count`` payers, about four people to one company, no name and no tax id twice.

    ``have_letters``: so that every second CNPJ has letters, as those issued since July 2026 may.
    """
    payers: list[Payer] = []
    names: set[str] = set()
    tax_ids: set[str] = set()
    while len(payers) < count:
        is_company = random.randrange(COMPANY_ODDS) == 0
        payer = (
            _random_company(random, may_have_letters=have_letters) if is_company else _random_person(random)
        )
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
    return Payer(f"{first} {surnames}", cpf(_digits(random, 9)))


def _random_company(random: Random, *, may_have_letters: bool) -> Payer:
    trade = random.choice(_TRADES)
    name = f"{trade} {' & '.join(random.sample(_SURNAMES, random.choice((1, 2))))} {random.choice(_FORMS)}"
    while (root := _digits(random, 8)) == _DESTINATION_ROOT:
        continue
    if may_have_letters and random.randrange(2):
        root = root[:2] + "".join(random.choices(string.ascii_uppercase, k=3)) + root[5:]
    # 0001 is a company's head office.
    return Payer(name, cnpj(f"{root}0001"))


def _digits(random: Random, count: int) -> str:
    # The first is not 0, because tables and spreadsheets drop it; and not all nine are the same, because
    # 111.111.111-11 has right check digits and is refused all the same.
    digits = [random.randint(1, 9), *(random.randint(0, 9) for _ in range(count - 1))]
    return "".join(map(str, digits)) if len(set(digits)) > 1 else _digits(random, count)


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
