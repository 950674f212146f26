"""The simulator's own copy of specification section 7: each code's words and what the gateway keeps.

Written apart from `lianlian_async.protocol.ret_codes` on purpose. One misreading of the specification
must not sit on both sides of a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

__all__ = ["FAILED_UNBILLED", "INTERCEPTED", "RET_MSG", "REVIEW", "Endpoint", "ret_msg"]


class Endpoint(StrEnum):
    """The three addresses a merchant posts to."""

    PAY = "pay"
    CONFIRM = "confirm"
    QUERY = "query"

    @property
    def path(self) -> str:
        """The last part of the address (specification 3.1, 3.2, 3.3)."""
        return _PATHS[self]


_PATHS = {
    Endpoint.PAY: "payment.htm",
    Endpoint.CONFIRM: "confirmPayment.htm",
    Endpoint.QUERY: "queryPayment.htm",
}

RET_MSG: Mapping[str, str] = MappingProxyType(
    {
        "0000": "交易成功",
        "1001": "商户请求签名未通过",
        "1002": "商户付款流水号重复",
        "1004": "商户请求参数校验错误:商户请求参数({name})非法",
        "1005": "不支持该银行账户类型",
        "1008": "商户请求IP错误",
        "2005": "原交易已在进行处理,请勿重复提交",
        "3001": "非法商户",
        "4001": "该订单不存在或非复核状态",
        "4002": "疑似重复提交订单",
        "4003": "收款银行卡和姓名不一致",
        "4004": "疑似重复提交订单且收款银行卡和姓名不一致",
        "4005": "商户没有实时付款权限",
        "4006": "敏感信息加密异常",
        "4007": "敏感信息解密异常",
        "4008": "验证码次数超限",
        "4009": "验证码异常",
        "4010": "验证码失效",
        "4011": "验证码不匹配",
        "4012": "银行卡查询异常",
        "4013": "账户异常",
        "4014": "付款订单创建失败",
        "4015": "大额行号查询失败",
        "8901": "没有记录",
        "9104": "账户余额不足",
        "9910": "风险等级过高",
        "9911": "超过单笔限额",
        "9912": "超过单日限额",
        "9913": "超过单月限额",
        "9999": "系统错误",
    }
)

# The vendor's own sample tells two kinds of refusal apart. The first kind is stopped at the door: a
# query knows nothing of it. The second kind has become an order that failed before it got a bill.
INTERCEPTED = frozenset(
    {"1001", "1004", "1005", "1008", "3001", "4005", "4012", "4015", "9910", "9911", "9912", "9913"}
)
FAILED_UNBILLED = frozenset({"9104", "4013", "4014"})
REVIEW = frozenset({"4002", "4003", "4004"})


def ret_msg(ret_code: str, name: str = "") -> str:
    """The words that go with a code; `name` is the parameter a 1004 complains about (specification 7)."""
    return RET_MSG.get(ret_code, "未知返回码").replace("{name}", name)
