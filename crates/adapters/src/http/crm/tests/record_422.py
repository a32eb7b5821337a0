"""Records what a stock FastAPI service with the fields of this dialect answers to wrong requests.

Run it with `fastapi`, `httpx` and `pydantic[email]` installed; it writes `recorded_422.json` beside itself. The tests send
the same requests to our router and compare the answers.
"""

import enum
import ipaddress
import json
import pathlib
import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal, Optional

import fastapi
import pydantic
from fastapi import FastAPI, Query
from fastapi.testclient import TestClient
from pydantic import AfterValidator, BaseModel, ConfigDict, EmailStr, Field


def phone(text):
    if not re.fullmatch(r"\+?[0-9]{6,15}", text):
        raise ValueError("must be 6 to 15 digits with an optional leading +")
    return text


def address(text):
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address") from None
    return text


def degrees(limit):
    def check(text):
        try:
            number = Decimal(text)
        except InvalidOperation:
            raise ValueError("must be a decimal number") from None
        if abs(number) > limit:
            raise ValueError(f"must lie between -{limit} and {limit}")
        return text

    return check


Text = Annotated[str, Field(max_length=200)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Source = Annotated[str, Field(min_length=1, max_length=64)]
STRICT = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Customer(BaseModel):
    model_config = STRICT
    name: Name
    email: EmailStr
    source: Source
    whatsapp_number: Optional[Annotated[str, AfterValidator(phone)]] = None
    ip: Optional[Annotated[str, AfterValidator(address)]] = None
    city: Optional[Text] = None
    country: Optional[Text] = None
    location: Optional[Text] = None
    latitude: Optional[Annotated[str, AfterValidator(degrees(90))]] = None
    longitude: Optional[Annotated[str, AfterValidator(degrees(180))]] = None
    company_id: Optional[str] = None
    is_active: Optional[bool] = True


class Change(Customer):
    name: Name = ""
    email: EmailStr = ""
    source: Source = ""


class Customers(BaseModel):
    model_config = STRICT
    customers: list[Customer] = Field(min_length=1, max_length=100)


class CompanyStatus(str, enum.Enum):
    active = "active"
    inactive = "inactive"


class Company(BaseModel):
    model_config = STRICT
    company_name: Name
    company_status: CompanyStatus
    description: Optional[Text] = None
    industry: Optional[Text] = None
    website: Optional[Text] = None
    phone: Optional[Text] = None
    address: Optional[Text] = None


class Companies(BaseModel):
    model_config = STRICT
    companies: list[Company] = Field(min_length=1, max_length=100)


class SortBy(str, enum.Enum):
    time_created = "time_created"
    time_updated = "time_updated"
    name = "name"
    email = "email"
    id = "id"


class SortOrder(str, enum.Enum):
    desc = "desc"
    asc = "asc"


class Page(BaseModel):
    model_config = ConfigDict(extra="forbid")
    page: int = Field(1, ge=1)
    page_size: int = Field(20, ge=1, le=100)


class CustomerPage(Page):
    search: Optional[str] = None
    source: Optional[Source] = None
    company_id: Optional[str] = None
    is_active: Optional[bool] = None
    sort_by: SortBy = SortBy.time_created
    sort_order: SortOrder = SortOrder.desc


app = FastAPI()
PREFIX = "/external/v1"


@app.post(PREFIX + "/customers", status_code=201)
def create(body: Customer):
    return {}


@app.post(PREFIX + "/customers/bulk", status_code=201)
def bulk(body: Customers):
    return {}


@app.get(PREFIX + "/customers")
def listed(query: Annotated[CustomerPage, Query()]):
    return {}


@app.patch(PREFIX + "/customers/{customer_id}")
def patch(customer_id: str, body: Change):
    return {}


@app.post(PREFIX + "/customer/company/create", status_code=201)
def company(body: Company):
    return {}


@app.post(PREFIX + "/customer/company/bulk-create")
def companies(body: Companies):
    return {}


@app.get(PREFIX + "/customer/company")
def company_list(query: Annotated[Page, Query()]):
    return {}


GOOD = {"name": "Alice Johnson", "email": "alice@example.com", "source": "web"}
FIRM = {"company_name": "Acme", "company_status": "active"}
CREATE, BULK, LIST = "/customers", "/customers/bulk", "/customers"
FOUND, FOUND_MANY, COMPANIES = "/customer/company/create", "/customer/company/bulk-create", "/customer/company"
client = TestClient(app)
cases = []


def record(method, path, body=None):
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    headers = {} if text is None else {"content-type": "application/json"}
    content = None if text is None else text.encode()
    answer = client.request(method, PREFIX + path, content=content, headers=headers)
    cases.append({"method": method, "path": path, "body": text, "status": answer.status_code, "answer": answer.json()
                  if answer.status_code == 422 else None})


def create_with(**members):
    record("POST", CREATE, GOOD | members)


for text in ("[]", "[1]", '"x"', "5", "1.5", "true", "null", "{}", ""):
    record("POST", CREATE, text)
    record("POST", BULK, text)
for text in ("{", '{"name":', '{"name": "x",}', '{"name": "x"} x', "{'name': 'x'}", "nul", '{"name" "x"}', '{"name": "x" 1}',
             '{"a": "\\x"}', '{"a": "b', "[1,", "[1 2]", " ", "\n\n{\n\"name\": tru}", '{"a": 01}', '{"a": +1}', '{1: 2}', "[1]]",
             '{"a": "\t"}', '{"é": "é" é}', '{"a": "\\u12"}', '{"a":1,,}', "-", '{"a": .5}', '{"a": 1.}', ']'):
    record("POST", CREATE, text)
for field in ("name", "email", "source", "whatsapp_number", "ip", "city", "country", "location", "latitude", "longitude",
              "company_id", "is_active"):
    for value in (5, 1.5, True, [], ["x"], {}, {"a": 1}):
        if field != "is_active" or not isinstance(value, bool):
            create_with(**{field: value})
for field in ("name", "email", "source"):
    record("POST", CREATE, {key: value for key, value in GOOD.items() if key != field})
for field, limit in (("name", 200), ("source", 64), ("city", 200), ("country", 200), ("location", 200)):
    create_with(**{field: "é" * limit})
    create_with(**{field: "é" * (limit + 1)})
for field in ("name", "source"):
    create_with(**{field: ""})
    create_with(**{field: "   "})
for email in ("", "x", "@", "a@", "@b.com", "a@b", "a b@example.com", "a@b@example.com", "a@exa mple.com", ".a@example.com",
              "a.@example.com", "a..b@example.com", "a@.example.com", "a@example.com.", "a@example..com", "a@-example.com",
              "a@example-.com", "a@exa_mple.com", "a@[127.0.0.1]", "a(b)@example.com", "a,b@example.com", "a@example.123",
              "a@" + "b" * 64 + ".com", "a" * 243 + "@example.com", "a" * 245 + "@example.com", "a@" + "b." * 130 + "com",
              "\\a@example.com", "a@example.com, b@example.com", "a;b@example.com", "a@example,com", " a@example.com ",
              "a+b@example.com", "用户@例子.公司", "a@examp!e.com", "a\u00a0b@example.com", "a@example.c"):
    create_with(email=email)
for number in ("12345", "123456", "+123456789012345", "1234567890123456", "+", "+1 234 567", "23480000000a", "", "++123456"):
    create_with(whatsapp_number=number)
for ip in ("192.168.1.1", "::1", "256.1.1.1", "x", "1.2.3", "", "1.2.3.4/24", "2001:db8::g"):
    create_with(ip=ip)
for latitude in ("5.6037", "-90", "90.1", "x", ""):
    create_with(latitude=latitude)
for longitude in ("0.1870", "180", "-180.5", "12,5"):
    create_with(longitude=longitude)
for flag in ("true", "TRUE", "t", "y", "yes", "Yes", "on", "1", "false", "f", "n", "no", "off", "0", 0, 1, 0.0, 1.0, 2, -1, 0.5,
             "maybe", "", " true", "2", "1.0", None, 10**20, 1e300):
    create_with(is_active=flag)
create_with(unknown=1)
create_with(Name="x", zz={"a": [1, 2]}, id=7)
create_with(name=5, email="x", extra=None, is_active="maybe", city=[], latitude="91")
for field in ("whatsapp_number", "ip", "city", "country", "location", "latitude", "longitude", "company_id", "is_active"):
    create_with(**{field: None})
record("POST", CREATE, {"zz": 1})

BAD = GOOD | {"email": "x"}
for many in ("x", {}, 5, [], [1], [None], ["x", GOOD, []], [GOOD] * 101, [GOOD] * 100, [BAD, GOOD, {}], [{}, {}, BAD | {"zz": 1}]):
    record("POST", BULK, {"customers": many})
record("POST", BULK, {"customers": [BAD], "zz": 1})
record("POST", BULK, [GOOD])

for body in ({}, {"name": None}, {"email": None}, {"source": None}, {"city": None}, {"name": 5}, {"name": ""}, {"zz": 1},
             {"email": "x", "is_active": "maybe"}, {"name": "x" * 201, "customer_id": "x"}):
    record("PATCH", "/customers/1", body)
for text in ("[]", "null", "{", ""):
    record("PATCH", "/customers/1", text)

for body in (FIRM, {}, FIRM | {"company_status": "closed"}, FIRM | {"company_status": 1}, FIRM | {"company_status": "Active"},
             FIRM | {"company_status": None}, FIRM | {"company_status": []}, FIRM | {"company_status": ""},
             FIRM | {"company_name": ""}, FIRM | {"company_name": "x" * 201}, FIRM | {"company_name": 5},
             FIRM | {"description": 1, "industry": [], "website": {}, "phone": 5, "address": True}, FIRM | {"address": "x" * 201},
             FIRM | {"id": 1}):
    if body.get("company_status", "") is not None:
        record("POST", FOUND, body)
for many in ([], [FIRM] * 101, [{}], [FIRM, FIRM | {"company_status": "x"}], "x"):
    record("POST", FOUND_MANY, {"companies": many})

for number in ("0", "-1", "1", "x", "", "1.5", "1.0", "+5", " 5 ", "1_0", "007", "1e2", "0x1", "true", "9" * 30, "--1", "1_", "_1", "1__0",
               "-0", "1.", ".5", "１", "+-1", "5.00", "- 1"):
    if number != "9" * 30:
        record("GET", LIST + "?page=" + number.replace("+", "%2B").replace(" ", "%20"))
    record("GET", LIST + "?page_size=" + number.replace("+", "%2B").replace(" ", "%20"))
for query in ("page_size=100", "page_size=101", "sort_by=zz", "sort_by=", "sort_by=NAME", "sort_order=up", "sort_order=DESC",
              "is_active=maybe", "is_active=", "is_active=YES", "is_active=2", "source=", "source=" + "x" * 65, "zz=1", "zz=",
              "page=x&page_size=0&sort_by=q&sort_order=w&is_active=e&zz=1&yy=2", "zz=1&page=x", "search=", "company_id="):
    record("GET", LIST + "?" + query)
for query in ("page=0", "page_size=0", "page_size=101", "search=x", "page=x&zz=1"):
    record("GET", COMPANIES + "?" + query)

target = pathlib.Path(__file__).with_name("recorded_422.json")
lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
head = json.dumps({"fastapi": fastapi.__version__, "pydantic": pydantic.VERSION})
target.write_text(f'{{"versions": {head}, "cases": [\n{lines}\n]}}\n', encoding="utf-8")
print(len(cases), "cases")
