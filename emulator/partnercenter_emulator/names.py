"""Words for the names of generated companies, people and places."""

# ruff: noqa: RUF001 - words of other alphabets look like words of ours

from __future__ import annotations

from typing import NamedTuple


class Locale(NamedTuple):
    """One country's words.

    `stems` pair the spelling in a company's name with the letters of its domain; `pattern` combines
    a stem, a trade and a legal form; `places` are city, state and postal code.
    """

    country: str
    culture: str
    pattern: str
    stems: tuple[tuple[str, str], ...]
    trades: tuple[str, ...]
    forms: tuple[str, ...]
    places: tuple[tuple[str, str, str], ...]
    street: str
    people: tuple[tuple[str, str], ...]
    phone: str


LOCALES = (
    Locale(
        "SE",
        "sv-SE",
        "{stem} {trade} {form}",
        (
            ("Norrsken", "norrsken"),
            ("Åkerö", "akero"),
            ("Älvdal", "alvdal"),
            ("Östervik", "ostervik"),
            ("Björkhult", "bjorkhult"),
            ("Sjögård", "sjogard"),
            ("Tranås Fjäll", "tranasfjall"),
        ),
        ("Träning", "Bageri", "Verkstad", "Redovisning", "Snickeri", "Åkeri"),
        ("AB", "HB"),
        (("Luleå", "Norrbotten", "972 31"), ("Västerås", "Västmanland", "722 11")),
        "Björkvägen {number}",
        (("Åsa", "Lindqvist"), ("Göran", "Ekström")),
        "+46 8 {number}",
    ),
    Locale(
        "DE",
        "de-DE",
        "{stem} {trade} {form}",
        (
            ("Grünwald", "gruenwald"),
            ("Müllerhof", "muellerhof"),
            ("Schäfertal", "schaefertal"),
            ("Weißbach", "weissbach"),
            ("Königsried", "koenigsried"),
            ("Nordlicht", "nordlicht"),
        ),
        ("Gebäudetechnik", "Großhandel", "Bäckerei", "Maschinenbau", "Prüfdienst", "Logistik"),
        ("GmbH", "KG", "GmbH & Co. KG"),
        (("München", "Bayern", "80331"), ("Köln", "Nordrhein-Westfalen", "50667")),
        "Lindenstraße {number}",
        (("Jürgen", "Voß"), ("Käthe", "Brühl")),
        "+49 89 {number}",
    ),
    Locale(
        "TR",
        "tr-TR",
        "{stem} {trade} {form}",
        (
            ("Işık", "isik"),
            ("Güneş", "gunes"),
            ("Çınar", "cinar"),
            ("Yıldız", "yildiz"),
            ("İnci", "inci"),
            ("Şahin", "sahin"),
        ),
        ("Gıda", "İnşaat", "Lojistik", "Yazılım", "Taşımacılık"),
        ("A.Ş.", "Ltd. Şti."),
        (("İzmir", "İzmir", "35210"), ("Eskişehir", "Eskişehir", "26010")),
        "Çiçek Sokağı {number}",
        (("Ayşe", "Öztürk"), ("Çağrı", "Yılmaz")),
        "+90 232 {number}",
    ),
    Locale(
        "GR",
        "el-GR",
        "{stem} {trade} {form}",
        (
            ("Αιγαίο", "aigaio"),
            ("Όλυμπος", "olympos"),
            ("Ήλιος", "ilios"),
            ("Θάλασσα", "thalassa"),
            ("Δελφίνι", "delfini"),
        ),
        ("Εμπορική", "Ναυτιλιακή", "Τεχνική", "Ξενοδοχεία"),
        ("Α.Ε.", "Ε.Π.Ε."),
        (("Θεσσαλονίκη", "Μακεδονία", "546 22"), ("Πάτρα", "Αχαΐα", "262 21")),
        "Οδός Ερμού {number}",
        (("Ελένη", "Παππά"), ("Γιώργος", "Νικολαΐδης")),
        "+30 231 {number}",
    ),
    Locale(
        "JP",
        "ja-JP",
        "{form}{stem}{trade}",
        (
            ("青葉", "aoba"),
            ("北斗", "hokuto"),
            ("桜川", "sakuragawa"),
            ("みどり野", "midorino"),
            ("東雲", "shinonome"),
        ),
        ("製作所", "商会", "工業", "食品", "システム"),
        ("株式会社", "合同会社"),
        (("札幌市", "北海道", "060-0001"), ("横浜市", "神奈川県", "220-0011")),
        "中央{number}丁目",
        (("花子", "高橋"), ("健太", "渡辺")),
        "+81 11 {number}",
    ),
    Locale(
        "PL",
        "pl-PL",
        "{stem} {trade} {form}",
        (
            ("Jaśmin", "jasmin"),
            ("Żubr", "zubr"),
            ("Łąka", "laka"),
            ("Źródło", "zrodlo"),
            ("Dąbrowa", "dabrowa"),
            ("Świt", "swit"),
        ),
        ("Usługi", "Przemysł", "Żegluga", "Księgowość", "Materiały"),
        ("Sp. z o.o.", "S.A."),
        (("Łódź", "łódzkie", "90-001"), ("Gdańsk", "pomorskie", "80-831")),
        "ul. Słoneczna {number}",
        (("Małgorzata", "Wójcik"), ("Paweł", "Dąbrowski")),
        "+48 42 {number}",
    ),
    Locale(
        "FR",
        "fr-FR",
        "{stem} {trade} {form}",
        (
            ("Clairière", "clairiere"),
            ("Forêt d'Aubrac", "foretdaubrac"),
            ("Évidence", "evidence"),
            ("Œillet", "oeillet"),
            ("L'Âtre", "latre"),
        ),
        ("Énergies", "Pâtisserie", "Mécanique", "Conseil", "Bâtiment"),
        ("SARL", "SAS"),
        (("Orléans", "Loiret", "45000"), ("Nîmes", "Gard", "30000")),
        "{number} rue du Château",
        (("Zoé", "Lefèvre"), ("François", "Béranger")),
        "+33 2 {number}",
    ),
    Locale(
        "CZ",
        "cs-CZ",
        "{stem} {trade} {form}",
        (
            ("Křišťál", "kristal"),
            ("Jeřáb", "jerab"),
            ("Čáp", "cap"),
            ("Hvězda", "hvezda"),
            ("Modřín", "modrin"),
        ),
        ("Účetnictví", "Stavby", "Pekařství", "Řešení"),
        ("s.r.o.", "a.s."),
        (("Plzeň", "Plzeňský kraj", "301 00"), ("Zlín", "Zlínský kraj", "760 01")),
        "Nádražní {number}",
        (("Jiří", "Dvořák"), ("Zdeňka", "Šťastná")),
        "+420 377 {number}",
    ),
    Locale(
        "US",
        "en-US",
        "{stem} {trade} {form}",
        (
            ("Northlake", "northlake"),
            ("Harbor & Pine", "harborpine"),
            ("Juniper Row", "juniperrow"),
            ("Tern Island", "ternisland"),
            ("O'Malley Creek", "omalleycreek"),
        ),
        ("Dental", "Outfitters", "Freight", "Analytics", "Roofing"),
        ("LLC", "Inc."),
        (("Duluth", "MN", "55802"), ("Bend", "OR", "97701")),
        "{number} Aspen Street",
        (("Maya", "O'Neill"), ("Ruben", "Castillo")),
        "+1 218 {number}",
    ),
    Locale(
        "BR",
        "pt-BR",
        "{stem} {trade} {form}",
        (
            ("Ipê Amarelo", "ipeamarelo"),
            ("São Tomé", "saotome"),
            ("Maracujá", "maracuja"),
            ("Pitangueira", "pitangueira"),
        ),
        ("Alimentação", "Construções", "Soluções", "Comércio"),
        ("Ltda.", "S.A."),
        (("São José dos Campos", "SP", "12210-000"), ("Maceió", "AL", "57020-000")),
        "Rua das Araucárias {number}",
        (("João", "Magalhães"), ("Lívia", "Conceição")),
        "+55 12 {number}",
    ),
)
