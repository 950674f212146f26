"""Every text of the page, in both languages: a test keeps them complete."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["DEFAULT_LANGUAGE", "HTML_LANG", "TEXTS", "language_of_header", "text"]

DEFAULT_LANGUAGE: Final = "en"
HTML_LANG: Final = MappingProxyType({"en": "en", "zh": "zh-CN"})
# One item of Accept-Language: the language, and its weight in thousandths.
_ACCEPTED: Final = re.compile(r"([A-Za-z]{1,8})(?:-[A-Za-z0-9-]+)?\s*(?:;\s*q=([01])(?:\.([0-9]{0,3}))?)?")

TEXTS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        name: MappingProxyType({"en": english, "zh": chinese})
        for name, english, chinese in (
            # The frame of every page.
            ("brand", "Payout review", "付款复核"),
            ("to_content", "Skip to the content", "跳到正文"),
            ("signed_in_as", "Signed in as", "当前用户"),
            ("sign_out", "Sign out", "退出登录"),
            ("language", "Language", "语言"),
            ("language_name", "English", "中文"),
            ("times", "All times are LianLian's: UTC+08:00.", "所有时间均为北京时间（UTC+08:00）。"),
            ("two_person", "Two different people must approve each payout.", "每笔付款须由两名不同人员批准。"),
            ("back_to_payout", "Look at the payout", "查看该笔付款"),
            ("back_to_list", "All held payouts", "全部待复核付款"),
            # Signing in.
            ("sign_in", "Sign in", "登录"),
            ("sign_in_lead", "Held payouts are released here. Sign in under your own name.", "此处放行被拦截的付款。请使用本人账号登录。"),
            ("name", "Name", "用户名"),
            ("password", "Password", "密码"),
            ("sign_in_failed", "Name or password is wrong.", "用户名或密码错误。"),
            ("sign_in_limited", "Too many attempts. Wait five minutes, then try again.", "尝试次数过多，请五分钟后再试。"),
            ("sign_in_broken", "Nobody can sign in: the users file is unusable. Whoever runs this page must look at its log.", "暂时无法登录：用户文件不可用。请运维人员查看日志。"),
            ("sign_in_already", "You came here from another site. If you are signed in already, go on to the list.", "您从其他网站跳转而来。如已登录，请直接进入列表。"),
            ("session_ended", "You are not signed in, or your session has ended.", "尚未登录，或会话已结束。"),
            ("nothing_decided", "Nothing was decided.", "未作出任何决定。"),
            # The list.
            ("held_payouts", "Held payouts", "待复核付款"),
            ("none_held", "No payout is held.", "目前没有被拦截的付款。"),
            ("none_held_lead", "When LianLian suspects a duplicate, or a name does not fit its card, the payout appears here.", "当连连支付怀疑重复提交，或收款卡与姓名不一致时，付款会出现在这里。"),
            ("held_count", "{count} held, soonest deadline first", "共 {count} 笔，按截止时间先后排列"),
            ("as_of", "As of {time}", "截至 {time}"),
            ("reload", "Reload", "刷新"),
            ("open", "Open", "查看"),
            ("amount", "Amount (CNY)", "金额（元）"),
            ("payee", "Payee", "收款人"),
            ("why_held", "Why it is held", "拦截原因"),
            ("held_since", "Held since", "拦截时间"),
            ("time_left", "Left to approve", "剩余时间"),
            ("minutes", "{count} min", "{count} 分钟"),
            ("until", "until {time}", "截止 {time}"),
            ("tries", "Confirmations left", "剩余确认次数"),
            ("tries_line", "{count} of 6 confirmations", "可确认 {count} / 6 次"),
            ("tries_count", "{count} of 6", "{count} / 6"),
            ("said", "Decisions so far", "已有意见"),
            ("nobody_yet", "None yet", "暂无"),
            ("approved_by", "Approved by {name}", "{name} 已批准"),
            ("declined_by", "Declined by {name}", "{name} 不予批准"),
            ("over", "Expired", "已过期"),
            ("over_at", "at {time}", "于 {time}"),
            ("not_here", "Not here", "无法在此批准"),
            # One payout.
            ("held_payout", "Held payout", "待复核付款"),
            ("payout", "Payout", "付款"),
            ("number", "Order number", "商户订单号"),
            ("key", "Your key", "业务编号"),
            ("no_key", "none", "无"),
            ("card", "Card", "银行卡号"),
            ("account_name", "Account name", "账户名"),
            ("ordered_at", "Order time", "订单时间"),
            ("state", "State", "状态"),
            ("bill", "LianLian's bill", "连连支付单号"),
            ("code", "Code", "返回码"),
            ("advice", "What happens next", "后续处理"),
            ("alarms", "Warnings", "警示"),
            ("library_says", "In the system's words", "系统原文（英文）"),
            ("siblings", "Same card, amount and day", "同卡、同金额、同日的其他付款"),
            ("siblings_lead", "Just asked again at LianLian. If one of these is the same payment, do not approve.", "刚刚已向连连支付重新查询。如其中一笔就是本次付款，请勿批准。"),
            ("siblings_lead_partly", "LianLian was asked again just now, but gave no answer about those marked: they are shown as known before, and may have been paid. If one of these is the same payment, do not approve.", "刚刚已向连连支付重新查询，但带有标记的付款未获应答：所示为此前状态，可能已付款。如其中一笔就是本次付款，请勿批准。"),
            ("sibling_unanswered", "no answer just now", "本次查询无应答"),
            ("siblings_more", "{count} more are not shown; those that paid or may still pay come first.", "另有 {count} 笔未显示；已支付或仍可能支付的优先列出。"),
            ("siblings_none", "This system has sent no other payout of this amount to this card on this day. Payouts from elsewhere are not shown.", "本系统当日未向该卡支付过相同金额的其他款项。其他渠道的付款不在此显示。"),
            ("decisions", "Decisions", "处理记录"),
            ("none_seen", "none at that time", "当时没有"),
            ("decide", "Decide", "作出决定"),
            ("approve", "Approve", "批准"),
            ("approve_title", "Approve and pay", "批准并付款"),
            ("approve_button", "Approve payment of {amount} CNY", "批准支付 {amount} 元"),
            ("approve_first_button", "Approve as first of two", "作为第一人批准"),
            ("approve_means", "The money leaves at once and cannot be called back.", "批准后款项立即付出，无法撤回。"),
            ("approve_first_means", "No money leaves yet: a second person must approve after you.", "此时款项不会付出：之后还须第二人批准。"),
            ("checked", "I have checked the payee and the payouts listed above.", "我已核对收款人及上述付款。"),
            ("decline", "Decline", "不予批准"),
            ("decline_button", "Decline this payout", "不予批准"),
            ("decline_means", "Nothing is sent. LianLian closes the payout in time; until then it can still be confirmed in the merchant portal.", "不发送任何指令。到期后由连连支付关闭该笔付款；在此之前仍可在商户后台确认。"),
            ("note", "Reason", "理由"),
            ("note_hint", "Required. It is kept in the journal with your name.", "必填。将与您的姓名一并记入日志。"),
            ("note_missing", "Write down a reason of at most 200 characters.", "请填写理由，不超过 200 个字符。"),
            ("checked_missing", "Say that you have checked the payee and the payouts listed above.", "请确认已核对收款人及上述付款。"),
            # Why it cannot be approved now.
            ("standing_expired", "The time to approve it here is over. LianLian closes it by itself; until it is closed, it may still be confirmed in the merchant portal.", "在此批准的时限已过。连连支付会自行关闭该笔付款；关闭之前仍可在商户后台确认。"),
            ("standing_no_code", "It cannot be approved here: the confirmation code was lost with an answer. Decide it in the merchant portal, or wait until LianLian closes it.", "无法在此批准：确认码已随应答丢失。请在商户后台处理，或等待连连支付关闭。"),
            ("standing_no_tries", "All of LianLian's six confirmations are used up. It will be closed.", "连连支付允许的六次确认均已用完，该笔付款将被关闭。"),
            ("standing_own", "You have approved it. It waits for a second person, and that cannot be you.", "您已批准。现等待第二人批准，第二人不能是您本人。"),
            ("standing_waits", "Approved by {name}. It waits for a second person.", "{name} 已批准，等待第二人批准。"),
            ("standing_declined", "It has been declined. It is queried until LianLian closes it; until then it may still be confirmed in the merchant portal.", "已被拒绝。系统会持续查询，直至连连支付关闭该笔付款；关闭之前仍可在商户后台确认。"),
            ("standing_refused", "It cannot be approved now.", "现在不能批准。"),
            ("standing_confirming", "The confirmation may have left: it is being queried; do not approve again.", "确认指令可能已经发出，正在查询结果，请勿再次批准。"),
            # What came of a form.
            ("note_approved", "Your approval is written down and the confirmation was sent.", "您的批准已记录，确认指令已发送。"),
            ("note_unsent", "Your approval is written down, but the confirmation was not sent: nothing has left. While there is time, it can be approved again.", "您的批准已记录，但确认指令未能发出，款项未付出。如未超时，可以再次批准。"),
            ("note_first", "Your approval is written down. No money has left: a second person must approve.", "您的批准已记录。款项尚未付出，须由第二人批准。"),
            ("note_declined", "It is written down that you declined. Nothing was sent.", "您的不予批准意见已记录，未发送任何指令。"),
            ("note_refused", "Nothing was sent by this form.", "本次提交未发送任何指令。"),
            ("note_already", "Your approval was written down already. This form did nothing a second time.", "您的批准此前已记录，本次提交未重复执行。"),
            ("note_changed", "Nothing was decided: something changed since you opened this page. Look again, then decide.", "未作出决定：打开页面之后情况有变。请重新核对后再决定。"),
            ("note_unknown", "The confirmation may have left: it is being queried; do not approve again.", "确认指令可能已经发出，正在查询结果，请勿再次批准。"),
            ("note_breaker", "Nothing was sent: new money is paused for this merchant.", "未发送任何指令：该商户的出款已暂停。"),
            ("present_state", "This is how it stands now.", "目前状态如下。"),
            ("not_held", "It is not held any more.", "该笔付款已不再被拦截。"),
            # Pages that say no.
            ("error_title", "This did not work", "操作未完成"),
            ("error_stranger", "You are not signed in, or may not decide on payouts.", "您尚未登录，或无权处理付款。"),
            ("error_form", "Nothing was decided: this form is too old, or did not come from this page. Open the payout again.", "未作出任何决定：表单已过期，或并非来自本页面。请重新打开该笔付款。"),
            ("error_missing", "There is no such page.", "页面不存在。"),
            ("error_unknown_number", "No payout with this number is in the journal.", "日志中没有该订单号的付款。"),
            ("error_method", "This page cannot be used that way.", "该页面不支持此操作。"),
            ("error_journal", "The journal could not be used: nothing was written down, and nothing was sent.", "日志不可用：未写入任何内容，也未发送任何指令。"),
            ("error_outcome", "An answer is missing: it is being queried; do not approve again.", "应答缺失，正在查询结果，请勿再次批准。"),
            ("error_breaker", "New money is paused for this merchant: nothing was sent.", "该商户的出款已暂停，未发送任何指令。"),
            ("error_refused", "This is not possible now, and nothing was sent.", "当前无法执行，未发送任何指令。"),
            ("error_host", "This page is served for this machine only; behind a TLS proxy, start it with --behind-tls.", "本页面仅供本机访问；如置于 TLS 代理之后，请以 --behind-tls 启动。"),
            ("error_inner", "Something is wrong with this page. If you were approving, look at the payout before you do it again.", "页面出现故障。如正在批准，请先查看该笔付款的状态，再决定是否重试。"),
            # The states, and what they mean for whoever looks.
            ("state_UNSENT", "Not sent", "未发送"),
            ("state_UNKNOWN", "Outcome unknown", "结果未知"),
            ("state_REFUSED", "Refused", "被拒绝"),
            ("state_IN_PROGRESS", "In progress", "处理中"),
            ("state_REVIEW", "Held for review", "待复核"),
            ("state_PAID", "Paid", "已付款"),
            ("state_FAILED", "Failed", "付款失败"),
            ("state_CLOSED", "Closed, not paid", "已关闭（未付款）"),
            ("state_REFUNDED", "Refunded by the bank", "已退回"),
            ("state_CONFLICT", "Records disagree", "记录冲突"),
            ("means_UNSENT", "No money has left.", "款项未付出。"),
            ("means_UNKNOWN", "It may have been paid; it is being queried. Do not pay it in another way.", "可能已付款，正在查询。请勿以其他方式重复支付。"),
            ("means_REFUSED", "LianLian turned it away; the order number stays in use.", "连连支付已拒绝；订单号仍然有效。"),
            ("means_IN_PROGRESS", "LianLian has it; it is queried until it ends.", "连连支付已受理，将持续查询直至有最终结果。"),
            ("means_REVIEW", "LianLian waits for a confirmation; no money has left.", "连连支付正在等待确认，款项未付出。"),
            ("means_PAID", "The money has left.", "款项已付出。"),
            ("means_FAILED", "The payment failed and has ended.", "付款失败，已终结。"),
            ("means_CLOSED", "LianLian has closed it; no money has left.", "连连支付已关闭，款项未付出。"),
            ("means_REFUNDED", "The bank gave the money back.", "银行已将款项退回。"),
            ("means_CONFLICT", "LianLian's record is not what was sent: settle it with LianLian.", "连连支付的记录与发送内容不符，请与连连支付核实。"),
            # Why a payout is held, where the code says it.
            ("why_4002", "Suspected duplicate: this amount went to this card already today.", "疑似重复提交：当日已向该卡支付过相同金额。"),
            ("why_4003", "The card does not belong to this name.", "收款银行卡与姓名不一致。"),
            ("why_4004", "Suspected duplicate, and the card does not belong to this name.", "疑似重复提交，且收款银行卡与姓名不一致。"),
            ("why_None", "LianLian holds it; the answer that said why was lost.", "连连支付已拦截；说明原因的应答已丢失。"),
        )
    }
)  # fmt: skip


def text(language: str, name: str, /, **values: object) -> str:
    """One text in one language, with its values filled in."""
    return TEXTS[name][language].format(**values)


def language_of_header(accept: str) -> str:
    """The better of the two languages for an Accept-Language header; English when it says nothing."""
    best, best_weight = DEFAULT_LANGUAGE, 0
    for item in accept.split(",")[:20]:
        match = _ACCEPTED.fullmatch(item.strip())
        language = match[1].lower() if match else ""
        weight = int(f"{match[2] or 1}{match[3] or '':0<3}") if match else 0
        if language in HTML_LANG and weight > best_weight:
            best, best_weight = language, weight
    return best
