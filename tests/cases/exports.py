"""Lists as real programs write them: the shape of each export, with made-up people.

The headers are those of the programs' own export functions (Excel in Polish and German, Google Contacts, Outlook, HubSpot,
Salesforce, Mailchimp, Brevo, Klaviyo, Shopify, WooCommerce, Eventbrite, pretix, Eventim, Facebook lead ads, LibreOffice, the
iPhone's contacts, WhatsApp, FreshMail, MailerLite, Google Forms, Typeform, Zoho, Pipedrive, Airtable).
"""

from __future__ import annotations

from tests.cases.case import Case

_GOOGLE = (
    "First Name,Middle Name,Last Name,Notes,Photo,Labels,E-mail 1 - Label,E-mail 1 - Value,Phone 1 - Label,Phone 1 - Value"
)
_OUTLOOK = (
    "First Name,Last Name,Company,Business Fax,Business Phone,Business Phone 2,Home Phone,Mobile Phone,Pager,E-mail Address"
)
_VCARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nN:Kot;Jan;;;\r\nTEL;type=CELL;type=VOICE;type=pref:+48 500 600 700\r\nEND:VCARD\r\n"

EXPORTS = [
    Case("Excel, Polish, CSV (MS-DOS list separator)", "Imię;Nazwisko;Telefon komórkowy\r\nŁucja;Żak;500 600 700\r\n".encode("cp1250"), 0,
         ('column "Telefon komórkowy"',), 1),
    Case("Excel, Polish, CSV UTF-8", "\ufeffImię;Nr telefonu\r\nŁucja;500-600-700\r\n", 0, ('column "Nr telefonu"',), 1),
    Case("Excel, German, with sep=", "\ufeffsep=;\r\nVorname;Nachname;Handy\r\nJörg;Groß;0048 500 600 700\r\n", 0, ('"Handy" (line 2)',), 1),
    Case("Excel that lost the digits", "Imię;Telefon\r\nA;4,85006E+10\r\nB;4,85006E+10\r\n", 2, ("2 shortened by a spreadsheet",)),
    Case("Excel, Unicode text", "Imię\tTelefon\r\nŁucja\t500600700\r\n".encode("utf-16"), 0, ('"Telefon"',), 1),
    Case("LibreOffice, UTF-16 with tabs", "Imię\tTelefon kom.\nŁucja\t+48 500 600 700\n".encode("utf-16"), 0, ('"Telefon kom."',), 1),
    Case("LibreOffice, every cell quoted", '"Imię","Telefon"\n"Ł","500600700"\n', 0, ('"Telefon"',), 1),
    Case("Google Contacts", f"{_GOOGLE}\nJan,,Kot,,,* myContacts,,jan@example.com,Mobile,+48 500 600 700\n", 0,
         ('"Phone 1 - Value"',), 1),
    Case("Google Contacts, two numbers in one", f"{_GOOGLE}\nJan,,Kot,,,,,,Mobile,+48500600700 ::: +48500600701\nE,,K,,,,,,Mobile,500600702\n", 0,
         ("more than one number?",), 1),
    Case("Google Contacts, two phones", f"{_GOOGLE},Phone 2 - Label,Phone 2 - Value\nJan,,Kot,,,,,,Mobile,500600700,Home,222222222\n", 2,
         ('"Phone 1 - Value" and "Phone 2 - Value"',)),
    Case("Outlook", f"{_OUTLOOK}\nJan,Kot,X,,222222222,,,500600700,,jan@example.com\n", 2, ('"Mobile Phone"', "column =")),
    Case("Outlook, by column", f"{_OUTLOOK}\nJan,Kot,X,,222222222,,,500600700,,jan@example.com\n", 0, ('"Mobile Phone"',), 1,
         {"column": '"Mobile Phone"'}),
    Case("HubSpot", "Record ID,First Name,Last Name,Email,Phone Number,Lead Status,Marketing contact status\n101,Jan,Kot,j@example.com,+48500600700,NEW,Marketing contact\n",
         0, ('"Phone Number"', "Marketing contact status"), 1),
    Case("Salesforce report", '"First Name","Last Name","Mobile","Phone","SMS Opt Out"\n"Jan","Kot","500600700","222222222","0"\n', 2,
         ('"Mobile" and "Phone"',)),
    Case("Salesforce report, by column", '"First Name","Last Name","Mobile","Phone","SMS Opt Out"\n"Jan","Kot","500600700","222222222","0"\n', 0,
         ('"Mobile"', "SMS Opt Out"), 1, {"column": '"Mobile"'}),
    Case("Mailchimp", '"Email Address","First Name","Phone Number",MEMBER_RATING,OPTIN_TIME,OPTIN_IP\n"j@example.com","Jan","500600700",2,"2026-01-01 10:00:00",\n', 0,
         ('"Phone Number"',), 1),
    Case("Brevo", "EMAIL,LASTNAME,FIRSTNAME,SMS,DOUBLE_OPT-IN\nj@example.com,Kot,Jan,48500600700,Yes\n", 0, ('"SMS"', "DOUBLE_OPT-IN"), 1),
    Case("Klaviyo", "Email,First Name,Phone Number,SMS Marketing Consent\nj@example.com,Jan,'+48500600700,UNSUBSCRIBED\n", 0,
         ("SMS Marketing Consent", "UNSUBSCRIBED (1)"), 1),
    Case("Shopify customers", "First Name,Last Name,Email,Accepts Email Marketing,Default Address Phone,Phone,Accepts SMS Marketing\nJan,Kot,j@example.com,no,'+48500600700,'+48500600700,no\n", 2,
         ('"Default Address Phone" and "Phone"',)),
    Case("WooCommerce orders", "Order Number,Order Status,Billing First Name,Billing Phone,Order Total\n1001,completed,Jan,500 600 700,10.00\n", 0,
         ('"Billing Phone"',), 1),
    Case("Eventbrite attendees", "Order #,Order Date,First Name,Last Name,Email,Quantity,Ticket Type,Attendee #,Barcode #,Cell Phone\n1,2026-11-01,Jan,Kot,j@example.com,1,VIP,7,100000000001,500600700\n", 0,
         ('1 codes from column "Barcode #"', "tickets"), 1, is_event=True),
    Case("Eventbrite, ruined by a spreadsheet", "Order #,First Name,Barcode #,Cell Phone\n1,Jan,1.00000E+11,500600700\n2,Ewa,1.00000E+11,500600701\n", 2,
         ("2 the barcode id was shortened",), is_event=True),
    Case("pretix attendees", "Order code,Position ID,Status,Attendee name,Phone number,Secret\nAB1CD,1,Paid,Jan,+48500600700,q7w8e9r0t1y2\nAB1CE,1,Paid,Ewa,+48500600701,z7w8e9r0t1y2\n", 2,
         ('"Order code", "Secret"', "barcode_column"), is_event=True),
    Case("pretix attendees, by the secret", "Order code,Position ID,Status,Attendee name,Phone number,Secret\nAB1CD,1,Paid,Jan,+48500600700,q7w8e9r0t1y2\nAB1CE,1,Paid,Ewa,+48500600701,z7w8e9r0t1y2\n", 0,
         ('2 codes from column "Secret"',), 2, {"barcode_column": '"Secret"'}, is_event=True),
    Case("Eventim", "Auftragsnummer;Vorname;Nachname;Mobilnummer;Ticketcode\n1;Jörg;Groß;+48500600700;T-100\n2;Ute;Au;+48500600701;T-101\n".encode("cp1252"), 2,
         ("name it with barcode_column",), is_event=True),
    Case("Facebook lead ads", "id\tcreated_time\tfull_name\tphone_number\nl:1\t2026-11-01\tJan\tp:+48500600700\n".encode("utf-16"), 2, ("p:+48500600700",)),
    Case("the iPhone's contacts", _VCARD, 2, ("is a vCard",)),
    Case("a WhatsApp group, copied", "\u202a+48 500 600 700\u202c\n\u202a+48\u00a0500\u00a0600\u00a0701\u202c\n", 0, ("bare list",), 2),
    Case("FreshMail", "Email;Status;Imię;Telefon\nj@example.com;aktywny;Jan;500600700\n", 0, ('column "Status"', "aktywny (1)"), 1),
    Case("Google Forms", '"Sygnatura czasowa","Imię i nazwisko","Numer telefonu (komórkowy)","Zgoda na kontakt"\n"2026/11/01","Jan","500600700","Tak"\n', 0,
         ("Zgoda na kontakt",), 1),
    Case("Typeform", '#,"What\'s your name?","What\'s your phone number?",Submit Date (UTC)\nabc,Jan,\'+48500600700,2026-11-01\n', 0, ("phone number?",), 1),
    Case("Pipedrive", "Person - Name,Person - Phone - Work,Person - Phone - Mobile\nJan,222222222,500600700\n", 2, ('"Person - Phone - Mobile"',)),
    Case("Airtable", '\ufeffName,Phone,Notes\nJan,(500) 600-700,"a, b\nc"\n', 0, ('"Phone"',), 1),
    Case("a phone book in SpreadsheetML", '<?xml version="1.0"?>\n<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"/>', 2, ("a spreadsheet in XML",)),
]  # fmt: skip
