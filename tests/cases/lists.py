"""Lists of people: columns, codes and numbers."""

from __future__ import annotations

import gzip
import io
import zipfile

from tests.cases.case import Case


def zipped(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "<xml/>")
    return content.getvalue()


def one_number(number: str, column: str = "phone") -> str:
    """A list in which the number in question is followed by a good one."""
    return f'{column}\n"{number}"\n500600701\n'


COLUMNS = [
    Case("C1 landlines and mobiles", "Nazwa;Telefon;Telefon komórkowy\nA;222222222;500600700\n", 2,
         ('"Telefon" and "Telefon komórkowy"', 'column = "Telefon"')),
    Case("C1 settled by column", "Nazwa;Telefon;Telefon komórkowy\nA;222222222;500600700\n", 0,
         ('numbers from column "Telefon komórkowy" (line 1)',), 1, {"column": '"telefon komorkowy"'}),
    Case("C2 ids in Number beside Mobile", "Number,Mobile\n500111222,500600700\n", 0, ('column "Mobile"',), 1),
    Case("C2 Number alone of ids that are not mobiles", "Name,Number\nA,123456789\nB,223456789\n", 2, ('"Number"', 'column = "…"')),
    Case("C2 Number alone of mobiles", "Name,Number\nA,500600700\nB,500600701\n", 0, ('column "Number"',), 2),
    Case("C3 a line break in the header", 'Lp.;"Numer\nklienta";Telefon\n1;600111222;500600700\n2;600111223;500600701\n', 0,
         ('numbers from column "Telefon" (line 1)',), 2),
    *(Case(f"C4 {name}", f"Imię;{name}\nJan;500600700\n", 0, ("numbers from column",), 1) for name in (
        "Numer telefonu", "phone_number", "Mobile Phone", "Nr tel.", "Telefon:", "Phone 1 - Value", "TEL. KOM.", "komórka",
        "Handynummer", "Mobilnummer", "phoneNumber", "Cell", "MSISDN", "nr-telefonu")),
    *(Case(f"C4 only column {name}", f"{name}\n500600700\n", 0, ("numbers from column",), 1) for name in (
        "Numer telefonu", "phone_number", "Nr tel.", "Telefon:", "Phone 1 - Value")),
    Case("a phone's type is not a number", "Name,Phone 1 - Type,Phone 1 - Value\nA,Mobile,500600700\n", 0, ("Phone 1 - Value",), 1),
    Case("C5 sep=;", "sep=;\nNazwa;Telefon\nA;500600700\n", 0, ("(line 2)",), 1),
    Case("sep= names an odd delimiter", "sep=^\nNazwa^Telefon\nA^500600700\n", 0, ('"Telefon"',), 1),
    Case("C6 every value ends in .0", "phone\n48500600700.0\n48500600701.0\n", 2,
         ('column "phone"', "2 a decimal number", "48500600700.0")),
    Case("C6 every value starts with p:", "phone\np:+48500600700\np:+48500600701\n", 2, ("2 not a number", "p:+48500600700")),
    Case("C6 the delimiter is wrong", "phone,name\n500600700;Jan\n", 2, ('column "phone"', "500600700;Jan")),
    Case("C7 a gzip", gzip.compress(b"phone\n500600700\n"), 2, ("is a gzip archive", "gunzip")),
    Case("C7 ESC in a header", "phone,\x1b[31mred\n500600700,x\n", 0, ("numbers from",), 1),
    Case("C7 ESC in a header that is refused", "\x1b[31mred,b\n1,x\n", 2, (r"\x1b[31mred",)),
    Case("C8 a PDF", b"%PDF-1.7\n1 0 obj\n", 2, ("is a PDF",)),
    Case("C8 a vCard", "BEGIN:VCARD\nVERSION:3.0\nTEL:+48500600700\nEND:VCARD\n", 2, ("is a vCard", "as CSV")),
    Case("RTF", rb"{\rtf1\ansi 500600700}", 2, ("is an RTF document",)),
    Case("login page", "<!DOCTYPE html><html>500600700</html>", 2, ("is an HTML page",)),
    Case("xlsx", zipped("[Content_Types].xml", "xl/workbook.xml"), 2, ("Excel workbook", "save it as CSV")),
    Case("zip", zipped("list.csv"), 2, ("is a zip archive",)),
    Case("xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), 2, ("old Office document",)),
    Case("an LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n", 2, ("Git LFS pointer",)),
    Case("a picture", b"\x89PNG\r\n\x1a\n" + bytes(80), 2, ("is a PNG picture",)),
    Case("a list in JSON", '[{"phone": "500600700"}]', 2, ("is JSON",)),
    Case("C9 unsubscribed ones", "phone,status\n500600700,subscribed\n500600701,unsubscribed\n", 0,
         ("warning", 'column "status"', "unsubscribed (1)", "only_where"), 2),
    Case("C9 filtered", "phone,status\n500600700,subscribed\n500600701,unsubscribed\n", 0,
         ("left out", "1 rows by only_where"), 1, {"only_where": '{ Status = "Subscribed" }'}),
    Case("C9 strict", "phone,zgoda\n500600700,tak\n500600701,nie\n", 2, ("strict = true", "consent_column"), None, {"strict": "true"}),
    Case("only_where of a column that is not there", "phone,zgoda\n500600700,tak\n", 2, ('no column "zgody"', "zgoda"), None,
         {"only_where": '{ zgody = "tak" }'}),
    Case("only_where leaves nobody", "phone,zgoda\n500600700,nie\n", 2, ("only_where left out 1",), None,
         {"only_where": '{ zgoda = ["tak", "TAK!"] }'}),
    Case("column that is not there", "phone,mobile\n1,500600700\n", 2, ('no column "mobil"', 'did you mean "mobile"'), None,
         {"column": '"mobil"'}),
    Case("the other column has the numbers", "Telefon;Kontakt osobisty\nbrak;500600700\nbrak;500600701\n500600702;600700800\n", 0,
         ("are not numbers", '"Kontakt osobisty"'), 1),
    Case("a recipients URL", code=2, said=("recipients: expected a file on this machine, not a URL",),
         keys={"recipients": '"https://docs.google.com/spreadsheets/d/1"'}),
]  # fmt: skip

CODES = [
    Case("C10 Barcode ID with generate", "Phone,Barcode ID\n+16502530000,A1\n+16502530001,\n", 0,
         ('1 codes from column "Barcode ID", 1 generated',), 2, {"barcode": '"generate"'}, is_event=True),
    Case("codes under another name with generate", "phone,Kod biletu\n500600700,A1\n500600701,A2\n", 2,
         ('"Kod biletu" may hold codes', 'barcode_column = "Kod biletu"', 'barcode_column = ""'), None,
         {"barcode": '"generate"'}, is_event=True),
    Case("generated all the same", "phone,Kod biletu\n500600700,A1\n500600701,A2\n", 0, ("2 generated",), 2,
         {"barcode": '"generate"', "barcode_column": '""'}, is_event=True),
    Case("codes by barcode_column", "phone,X1\n500600700,A1\n500600701,A2\n", 0, ('2 codes from column "X1"',), 2,
         {"barcode_column": '"x1"'}, is_event=True),
    Case("a kind of ticket is not a code", "phone,Ticket\n500600700,VIP\n500600701,VIP\n", 0, ("2 generated",), 2,
         {"barcode": '"generate"'}, is_event=True),
    Case("a postal code is not a code", "phone,kod pocztowy\n500600700,00-950\n500600701,00-951\n", 0, ("2 generated",), 2,
         {"barcode": '"generate"'}, is_event=True),
    Case("two columns of codes", "phone,barcode,Barcode ID\n500600700,A1,B1\n", 2, ('"barcode", "Barcode ID"', "barcode_column"),
         is_event=True),
    Case("what Excel did to codes", "phone,barcode\n500600700,1.23E+11\n500600701,A2\n", 0,
         ("1.23E+11", "shortened by a spreadsheet"), 1, is_event=True),
    Case("a bad code is shown, not the number", "phone,barcode\n500600700,ŁÓDŹ-1\n500600701,A2\n", 0, ("│ ŁÓDŹ-1",), 1, is_event=True),
    Case("codes alike in case", "phone,barcode\n500600700,ab1\n500600701,AB1\n", 0, ("differ only in case", "ab1 in line 2"), 2,
         is_event=True),
    Case("codes alike in zeros", "phone,barcode\n500600700,007\n500600701,07\n", 0, ("leading zeros", "007 in line 2"), 2,
         is_event=True),
    Case("a code of 33", f"phone,barcode\n500600700,{'A' * 33}\n500600701,A2\n", 0, ("is not 1 to 32",), 1, is_event=True),
    Case("attendees' landlines", "phone,barcode\n222222222,A1\n500600701,A2\n", 0, ("a landline",), 1, is_event=True),
    Case("a placeholder that is not a column's", "phone,barcode\n500600700,A1\n", 2, ("no column imie",), None,
         {"custom_subject": '"Hej {imie}"'}, is_event=True),
    Case("a placeholder of another tool", "phone,barcode\n500600700,A1\n", 2, ("placeholder {{name}}",), None,
         {"ddm_text": '"Hej {{name}}"'}, is_event=True),
]  # fmt: skip

_REJECTED = [
    ("N1 a pager", "641234567", "a pager"),
    ("N1 a premium number", "701234567", "a premium-rate number"),
    ("N1 shared cost", "801234567", "a shared-cost number"),
    ("toll-free", "800123456", "a toll-free number"),
    ("VoIP", "391234567", "a VoIP number"),
    ("a premium number abroad", "+49 900 1234567", "a premium-rate number"),
    ("a landline", "22 222 22 22", "a landline"),
    ("N2 two endings", "+49 30 12345/12346", "more than one number?"),
    ("or", "500600700 or 500600701", "more than one number?"),
    ("lub", "500600700 lub 701", "more than one number?"),
    ("Google's sign", "500600700 ::: 500600701", "more than one number?"),
    ("a semicolon", "500600700;500600701", "more than one number?"),
    ("a bar", "500600700|701", "more than one number?"),
    ("a wave", "500600700~1", "more than one number?"),
    ("a bracketed tail", "500600700 (701)", "more than one number?"),
    ("a line break", "500600700\n500600701", "more than one number?"),
    ("an ampersand", "500600700 & 500600701", "more than one number?"),
    ("two groups", "500600700 500600701", "more than one number?"),
    ("digits again after a dash", "500600700-1", "more than one number?"),
    ("N3 elsewhere", "380501234567", "add a +"),
    ("N4 a zero too many", "0 500 600 700", "leave the 0 out"),
    ("N5 MacRoman", "600Ę100Ę201", "is the file in another encoding?"),
    ("N5 MacRoman as Latin-1", "600Ê100Ê201", "is the file in another encoding?"),
    ("a short number", "71234", "too short"),
    ("Excel's power", "4,85006E+10", "shortened by a spreadsheet"),
    ("tel:", "tel:+48500600700", "not a number"),
]
NUMBERS = [
    *(Case(name, one_number(number), 0, (reason,), 1) for name, number, reason in _REJECTED),
    Case("landlines = true", "phone\n222222222\n500600701\n", 0, ("2 valid",), 2, {"landlines": "true"}),
    Case("N3 msisdn", "msisdn\n380501234567\n500600701\n", 0, ("UA 1", "1 are not Polish"), 2),
    Case("N4 (0) after the country", one_number("+48 (0) 500 600 700"), 0, ("2 valid",), 2),
    Case("a British (0)", one_number("+44 (0)7400 123456"), 0, ("GB 1", "1 are not Polish"), 2),
    Case("numbers abroad", "phone\n+491711234567\n+380501234567\n500600700\n", 0, ("2 are not Polish",), 3),
]  # fmt: skip
