"""Every text of the report, in both languages: a test keeps them complete."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["LANGUAGES", "TEXTS"]

LANGUAGES: Final = MappingProxyType({"en": "en", "zh": "zh-CN"})

TEXTS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        name: MappingProxyType({"en": english, "zh": chinese})
        for name, english, chinese in (
            ("title", "Reconciliation", "付款对账"),
            ("merchant", "Merchant", "商户号"),
            ("made", "Made", "生成时间"),
            ("period", "Days", "对账日期"),
            ("even", "Even: statement and journal say the same.", "账平：对账单与付款日志一致。"),
            ("uneven", "{count} differences.", "共 {count} 处差异。"),
            ("waiting_note", "{count} payments are not listed yet; they may still be tomorrow.", "{count} 笔付款尚未出现在对账单中，次日可能补列。"),
            ("listed", "Listed as paid", "对账单付款"),
            ("ours", "Paid in the journal", "日志付款"),
            ("fees", "Fees", "手续费"),
            ("refunds", "Refunds", "退款"),
            ("outflow", "Gone from the account", "账户净流出"),
            ("balance", "Opening less closing balance", "期初减期末余额"),
            ("unexplained", "Not explained", "未解释差额"),
            ("chart", "Payouts by settle date", "按清算日期统计"),
            ("chart_lead", "The journal's payouts of each day by state, as they stood before this run, and what differs.", "各清算日付款在本次对账前的状态，及差异笔数。"),
            ("by_day", "By day", "每日合计"),
            ("day", "Day", "日期"),
            ("count", "Count", "笔数"),
            ("amount", "Amount (CNY)", "金额（元）"),
            ("fee", "Fee", "手续费"),
            ("our_count", "Ours", "日志笔数"),
            ("our_amount", "Ours (CNY)", "日志金额（元）"),
            ("refund_count", "Refunds", "退款笔数"),
            ("refunded", "Refunded (CNY)", "退款金额（元）"),
            ("differences", "Differences", "差异"),
            ("all_days", "All days", "合计"),
            ("number", "Number", "商户订单号"),
            ("what", "What differs", "差异说明"),
            ("statement", "Statement", "对账单"),
            ("journal", "Journal", "日志"),
            ("bill", "bill", "银通单号"),
            ("date", "settle date", "清算日期"),
            ("evidence", "Evidence", "证据"),
            ("state", "State", "状态"),
            ("became", "{before}, now {state}", "原 {before}，现 {state}"),
            ("more", "{count} more of this kind are in the CSV and JSON output.", "另有 {count} 处同类差异，见 CSV 或 JSON 输出。"),
            ("waiting", "Not listed yet", "尚未列出"),
            ("files", "Files", "对账文件"),
            ("rows", "{count} rows", "{count} 行"),
            ("none", "None.", "无。"),
            ("times", "All times are LianLian's: UTC+08:00. Card numbers and names are masked.", "所有时间均为北京时间（UTC+08:00）。卡号与姓名已脱敏。"),
            ("kind_foreign", "Listed, and not in the journal", "对账单有，日志无"),
            ("kind_twice", "Listed twice", "重复列出"),
            ("kind_amount", "Another amount", "金额不符"),
            ("kind_bill", "Another bill", "银通单号不符"),
            ("kind_state", "Listed as paid, and the journal said otherwise", "对账单已付，日志未付"),
            ("kind_refund", "A refund that was not known", "未知退款"),
            ("kind_date", "Another day", "清算日期不符"),
            ("kind_missing", "Paid, and not listed", "日志已付，对账单无"),
            ("kind_summary", "The summary disagrees with its rows", "汇总与明细不符"),
            ("kind_balance", "The balances disagree with the rows", "余额与明细不符"),
            ("lead_foreign", "Is the journal a restored backup, or does somebody else use this merchant's numbers? Do not pay these again.", "日志是否由旧备份恢复？是否有他人使用本商户订单号？请勿重新付款。"),
            ("lead_twice", "Two rows of one number: ask LianLian whether it was paid twice.", "同一订单号出现两次：请向连连确认是否重复付款。"),
            ("lead_amount", "What moved is not what was sent: settle it with LianLian. Nothing more is sent.", "实际金额与提交不符：请与连连核实，系统不再发送。"),
            ("lead_bill", "One number must never have two bills: settle it with LianLian. Nothing more is sent.", "同一订单号出现不同银通单号：请与连连核实，系统不再发送。"),
            ("lead_state", "The statement became evidence, and the state followed; the gateway is asked to say the same.", "对账单已作为证据记录，状态随之更新，并将向网关查询确认。"),
            ("lead_refund", "The money came back. A new number opens only when a query agrees.", "款项已退回。须经查询确认后方可换单重付。"),
            ("lead_date", "Paid, and counted on another day than the gateway told.", "已付款，但清算日期与网关返回不同。"),
            ("lead_missing", "The gateway said PAID, and the statement of the day does not list it: ask LianLian. Do not pay it again.", "网关返回已付，但当日对账单未列出：请联系连连，请勿重新付款。"),
            ("lead_summary", "Fetch both files again; if they still disagree, ask LianLian.", "请重新下载两个文件；如仍不符，请联系连连。"),
            ("lead_balance", "Top-ups and withdrawals are not in a payout statement: take them into account first.", "付款对账单不含充值与提现，请先扣除。"),
        )
    }
)  # fmt: skip
