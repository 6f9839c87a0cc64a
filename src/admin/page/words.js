"use strict";
// What the page says, in its two languages; and, before anything is drawn, the choice of language and colours.

const WORDS = {
  en: {
    title: "Tollgate: status", skip: "Skip to the content", sections: "Sections",
    uptime: "Uptime", config: "Configuration", reload: "Last reload", listen: "Listens on", glance: "At a glance",
    channels: "Channels", keys: "Keys", sessions: "Sessions", exchanges: "Exchanges", metrics: "metrics",
    other_language: "中文", theme: "Colours", theme_auto: "Auto", theme_light: "Light", theme_dark: "Dark",
    generation: "generation {0}", reload_ok: "{0} ago", reload_refused: "refused, the last good one serves", reload_none: "not from a file",
    state_ready: "ready", state_cooling: "all channels cooling", state_none: "no channel usable", state_draining: "draining", state_refused: "reload refused",
    state_lost: "no answer", state_wait: "asking …",
    note_draining: "The process drains: it takes nothing new and leaves when what is under way has ended.",
    note_refused: "The last reload was refused; the last good configuration stays in force:",
    note_changed: "Generation {0} changed:",
    note_restart: "Needs a restart to take effect: {0}", note_away: "Credentials that are not used now:",
    note_lost: "No answer from the gateway for {0}; what you see is old.", note_token: "The admin token is wanted: load this page anew.",
    note_quota: "Quotas used up: {0}",
    requests: "Requests", per_second: "/s", in_window: "{0} in {1}", in_window_refused: "{0} in {1} · {2} refused",
    inflight: "In flight", inflight_sub: "{0} streams · {1} queued",
    success: "Success", success_sub: "{0} failed", success_over: "{0} failed · {1} failed over",
    first_token: "First token", first_token_sub: "p95 {0}", first_token_none: "no streams",
    speed: "Output tokens", speed_sub: "{0} in · {1} out",
    cost: "Cost", cost_sub: "in {0}", cost_unknown: "in {0} · {1} without a price",
    channel: "Channel", state: "State", weight: "Priority / weight", attempts: "Attempts", success_c: "Success", first_c: "First token",
    speed_c: "Tokens/s", inflight_c: "In flight", breaker: "Breaker", last_error: "Last error", queued: "{0} queued",
    key: "Key", requests_c: "Requests", cost_c: "Cost", limits: "Limits", quotas: "Quotas", refused_n: "{0} refused", disabled: "disabled",
    session: "Session", model: "Model", tokens: "Tokens", last: "Last",
    time: "Time", status: "Status", duration: "Took", first_byte: "First byte", id: "Request id", in_out: "Tokens",
    ago: "{0} ago", no_limits: "no limits", no_quotas: "none", none: "none",
    filter: "key, channel, model, status, id …", problems_only: "problems only", live: "Live", paused: "Paused", paused_n: "Paused, {0} new",
    shown: "{0} of {1}", first_n: "the busiest {0} of {1}", missed: "{0} more passed unseen: the access log has them.",
    empty_channels: "No channel is configured.", empty_keys: "No key is configured.",
    empty_sessions: "No session in this time. With [trace] the gateway knows those of Claude Code, Codex and your own headers.",
    empty_exchanges: "Nothing yet. Send a request to {0} and it shows up here.", empty_filter: "Nothing fits the filter.",
    window_note: "Numbers are of the last", key_filter: "search", key_pause: "pause", details: "details of {0}",
    asked_by: "Key", asked_for: "Asked for", client: "Client", answered: "Answered", tried: "Attempt {0}", said: "Provider said", charged: "Bill",
    nobody: "no valid key", streamed: "streamed", no_answer: "no answer", nothing_sent: "Nothing was sent to a provider.",
    more: "{0} more", used_left: "{0} of {1} used", renews: "renews {0}",
    s_healthy: "healthy", "s_half-open": "half-open", s_cooling: "cooling", s_disabled: "disabled", "s_weight 0": "weight 0", "s_canary 0%": "canary 0%", canary: "canary {0}", "s_credentials cooling": "credentials cooling",
    b_closed: "closed", b_open: "open", "b_half-open": "half-open", b_probing: "probing",
    p_day: "a day", p_week: "a week", p_month: "a month", p_total: "in total", q_group: "group", q_project: "project",
    h_attempts: "Tries at this channel in this time", h_success: "Attempts that did not fail", h_first: "Median time from the attempt to the first event of a stream, and p95",
    h_speed: "Median speed of a stream, once it flows",
  },
  zh: {
    title: "Tollgate：状态", skip: "跳到内容", sections: "栏目",
    uptime: "运行时间", config: "配置", reload: "上次重载", listen: "监听地址", glance: "概览",
    channels: "渠道", keys: "密钥", sessions: "会话", exchanges: "请求", metrics: "指标",
    other_language: "English", theme: "配色", theme_auto: "自动", theme_light: "浅色", theme_dark: "深色",
    generation: "第 {0} 代", reload_ok: "{0}前", reload_refused: "被拒绝，仍使用上一份有效配置", reload_none: "并非从文件启动",
    state_ready: "就绪", state_cooling: "所有渠道冷却中", state_none: "没有可用渠道", state_draining: "正在排空", state_refused: "重载被拒绝",
    state_lost: "无响应", state_wait: "查询中…",
    note_draining: "进程正在排空：不再接收新请求，进行中的请求结束后退出。",
    note_refused: "上次重载被拒绝，仍使用上一份有效配置：",
    note_changed: "第 {0} 代的改动：",
    note_restart: "需要重启才能生效：{0}", note_away: "目前停用的凭据：",
    note_lost: "网关已 {0} 没有响应，下面是旧数据。", note_token: "需要管理令牌：请重新加载本页。",
    note_quota: "已用完的配额：{0}",
    requests: "请求", per_second: "/秒", in_window: "{1}内 {0} 个", in_window_refused: "{1}内 {0} 个 · 拒绝 {2}",
    inflight: "进行中", inflight_sub: "{0} 个流 · {1} 个排队",
    success: "成功率", success_sub: "失败 {0}", success_over: "失败 {0} · 切换 {1}",
    first_token: "首个 token", first_token_sub: "p95 {0}", first_token_none: "没有流式请求",
    speed: "输出 token", speed_sub: "输入 {0} · 输出 {1}",
    cost: "费用", cost_sub: "{0}内", cost_unknown: "{0}内 · {1} 个无价格",
    channel: "渠道", state: "状态", weight: "优先级 / 权重", attempts: "尝试", success_c: "成功率", first_c: "首个 token",
    speed_c: "token/秒", inflight_c: "进行中", breaker: "熔断器", last_error: "最近错误", queued: "{0} 个排队",
    key: "密钥", requests_c: "请求", cost_c: "费用", limits: "限额", quotas: "配额", refused_n: "拒绝 {0}", disabled: "已停用",
    session: "会话", model: "模型", tokens: "token", last: "最近",
    time: "时间", status: "状态", duration: "耗时", first_byte: "首字节", id: "请求 ID", in_out: "token",
    ago: "{0}前", no_limits: "无限额", no_quotas: "无", none: "无",
    filter: "密钥、渠道、模型、状态、ID …", problems_only: "只看问题", live: "实时", paused: "已暂停", paused_n: "已暂停，{0} 条新记录",
    shown: "{0} / {1}", first_n: "最忙的 {0} 个，共 {1} 个", missed: "另有 {0} 条未显示，见访问日志。",
    empty_channels: "没有配置渠道。", empty_keys: "没有配置密钥。",
    empty_sessions: "这段时间内没有会话。配置 [trace] 后可识别 Claude Code、Codex 以及自定义请求头的会话。",
    empty_exchanges: "还没有请求。向 {0} 发送一个请求，它就会出现在这里。", empty_filter: "没有符合筛选条件的记录。",
    window_note: "统计范围：最近", key_filter: "搜索", key_pause: "暂停", details: "{0} 的详情",
    asked_by: "密钥", asked_for: "请求模型", client: "客户端", answered: "结果", tried: "第 {0} 次尝试", said: "供应商返回", charged: "计费",
    nobody: "没有有效密钥", streamed: "流式", no_answer: "无响应", nothing_sent: "没有向供应商发送任何内容。",
    more: "还有 {0} 个", used_left: "已用 {0}，共 {1}", renews: "{0}重置",
    s_healthy: "正常", "s_half-open": "半开", s_cooling: "冷却中", s_disabled: "已停用", "s_weight 0": "权重为 0", "s_canary 0%": "灰度 0%", canary: "灰度 {0}", "s_credentials cooling": "凭据冷却中",
    b_closed: "关闭", b_open: "打开", "b_half-open": "半开", b_probing: "探测中",
    p_day: "每天", p_week: "每周", p_month: "每月", p_total: "总计", q_group: "分组", q_project: "项目",
    h_attempts: "这段时间内对该渠道的尝试次数", h_success: "未失败的尝试所占比例", h_first: "从尝试到流的首个事件的中位时间，以及 p95",
    h_speed: "流开始后的中位速度",
  },
};

// A browser may refuse to keep anything; the page works without.
const kept = (name, value) => {
  try {
    if (value !== undefined) localStorage.setItem(`tollgate-${name}`, value);
    return localStorage.getItem(`tollgate-${name}`);
  } catch {
    return null;
  }
};

const choice = {
  theme: ["light", "dark"].includes(kept("theme")) ? kept("theme") : "auto",
  language: Object.hasOwn(WORDS, kept("language") ?? "") ? kept("language") : navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en",
};

const applyChoice = () => {
  document.documentElement.lang = choice.language === "zh" ? "zh-Hans" : "en";
  if (choice.theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice.theme;
};
applyChoice();

const say = (word, ...values) => {
  const text = WORDS[choice.language][word] ?? word;
  return text.replace(/\{(\d)\}/g, (_, at) => values[at] ?? "");
};
// A word of the gateway's, where it has a translation.
const saidOf = (prefix, word) => WORDS[choice.language][prefix + word] ?? word;
