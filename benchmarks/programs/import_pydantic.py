from pydantic import BaseModel


class A(BaseModel):
    pass


class B(BaseModel):
    pass


class C(BaseModel):
    pass
