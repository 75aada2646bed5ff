// Follows topics of a relay and reconnects by itself: the recipe of docs/websocket.md, for browsers and for Node 22 or
// newer.

const QUIET = 20_000;      // nothing has come for so long: ask for a sign of life
const SILENCE = 25_000;    // no answer to that for so long: the connection is dead
const LONGEST = 30_000;    // between two attempts
const PATIENCE = 20_000;   // a URL has been asked for so long ago: ask again
// What is the same again when it is tried again, besides 4000 to 4099.
const OVER = [1002, 1003, 1007, 1009];
// A registration is gone, as after each restart of Relay: another URL may be let in.
const GONE = [4001, 4002, 4010, 4011];

// `url`: of a WebSocket, or a function that answers one, or a promise of one. It is called before each attempt, so that a
// page registers anew in it; where it fails, or does not answer, it is called again later.
// `from`: "earliest" for all that is retained, null for live messages only. What it calls:
//   message({topic, id, time, data})      once for each message, in order
//   gap({topic, from, to, reason})        messages may have been missed: load the state anew from its source
//   ended({topic, reason})                a topic is over; without a `topic` everything is. Nothing is tried again
//                                         then, or when no topic is left
// Answers a function that stops it.
export function follow(url, topics, {message, gap, ended = console.error, token, from = "earliest"}) {
    const last = Object.fromEntries(topics.map(topic => [topic, from]));
    const patterns = topics.map(topic => [topic, matcher(topic)]);
    let wait = 1000;
    // The last URL was for nobody. The next is the last that is tried, unless a `synced` comes between.
    let gone = false;
    let stop;

    function retry(delay) {
        const again = setTimeout(connect, delay ?? wait * (0.5 + Math.random() / 2));
        stop = () => clearTimeout(again);
        wait = Math.min(2 * wait, LONGEST);
    }

    function connect() {
        if (typeof url !== "function") return open(url);
        let stopped = false;
        let timer;
        stop = () => {
            stopped = true;
            clearTimeout(timer);
        };
        const late = new Promise((_, reject) => { timer = setTimeout(reject, PATIENCE); });
        const answer = Promise.race([late, new Promise(resolve => resolve(url()))]);
        // Node throws in `open` at what is no URL; a browser takes it for a path of the page's own server.
        answer.finally(() => clearTimeout(timer)).then(found => stopped || open(found)).catch(() => stopped || retry());
    }

    function open(found) {
        const socket = new WebSocket(found, "relay.v1");
        let silence, again, delay;
        // The URL of a registration is live before the subscribe is answered. What it says until then comes again behind
        // the answer, and must not move `last`, from which that goes on.
        let begun = false;
        const send = command => socket.send(JSON.stringify(command));
        // One command for all topics, so that one position covers them all.
        const subscribe = () => send({type: "subscribe", id: "subscribe", topics: last});
        const leave = () => {
            clearTimeout(silence);
            clearTimeout(again);
            socket.onmessage = socket.onclose = null;
            socket.close();
        };
        const lost = () => {
            leave();
            retry(delay);
        };
        const over = reason => {
            leave();
            ended({reason});
        };
        const drop = ({topic, reason}) => {
            delete last[topic];
            ended({topic, reason});
            if (Object.keys(last).length === 0) leave();
        };
        // The silence counts from a ping that was sent: browsers hold back the timers of a hidden page, for a minute.
        const heard = () => {
            clearTimeout(silence);
            silence = setTimeout(() => {
                if (socket.readyState !== WebSocket.OPEN) return lost();
                socket.send("ping");
                silence = setTimeout(lost, SILENCE);
            }, QUIET);
        };
        const on = {
            hello: () => token ? send({type: "auth", id: "auth", token}) : subscribe(),
            ok: ({id}) => {
                if (id === "auth") subscribe();
                else begun = true;
            },
            message: notice => {
                if (!begun) return;
                const of = patterns.filter(([topic, pattern]) => topic in last && pattern.test(notice.topic));
                const fresh = of.filter(([topic]) => isAfter(notice.id, last[topic]));
                fresh.forEach(([topic]) => { last[topic] = notice.id; });
                if (fresh.length > 0) message(notice);
            },
            synced: ({position}) => {
                if (!begun) return;
                wait = 1000;
                gone = false;
                for (const topic in last) last[topic] = position;
            },
            gap: notice => begun && gap(notice),
            // A registration may be for more than is followed here.
            unsubscribed: notice => notice.topic in last && drop(notice),
            goaway: ({reconnect_after_ms}) => { delay = reconnect_after_ms; },
            error: ({problem}) => {
                const {topic, detail, retry_after} = problem;
                if (retry_after) again = setTimeout(subscribe, 1000 * retry_after);
                else if (!topic) over(detail);
                else {
                    // All were refused for this one, of which an `unsubscribed` may have told already.
                    if (topic in last) drop({topic, reason: detail});
                    if (Object.keys(last).length > 0) subscribe();
                }
            },
        };
        socket.onmessage = ({data}) => {
            heard();
            if (data === "pong") return;
            const notice = JSON.parse(data);
            on[notice.type]?.(notice);
        };
        socket.onclose = ({code, reason}) => {
            const another = !gone && typeof url === "function" && GONE.includes(code);
            gone ||= another;
            if (!another && (OVER.includes(code) || code >= 4000 && code < 4100)) over(`${code} ${reason}`);
            else lost();
        };
        stop = leave;
        heard();
    }

    connect();
    return () => stop();
}

// Whether an id lies behind a position. Ids of two epochs cannot be compared: the other log is a new one.
function isAfter(id, position) {
    const [epoch, seq] = id.split("-");
    const [before, until] = (position ?? "").split("-");
    return epoch !== before || Number(seq) > Number(until);
}

// `*` and a `{name}` are one segment, a last `**` one or more.
function matcher(topic) {
    const segment = text => text === "**" ? ".+" : text === "*" || text.startsWith("{") ? "[^.]+" : text;
    return new RegExp(`^${topic.split(".").map(segment).join("\\.")}$`);
}
