"""The backend `ctranslate2-int8`: CTranslate2 with weights and inputs of matrix products in 8 bits."""

from yoyak.inference.backends.ctranslate2 import CTranslate2Backend


class CTranslate2Int8Backend(CTranslate2Backend):
    name = "ctranslate2-int8"
    is_exact = False
    compute_type = "int8"


BACKEND = CTranslate2Int8Backend()
