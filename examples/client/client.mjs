// Follows topics of a relay and reconnects by itself. This is the recipe of docs/websocket.md, for browsers and for Node 22
// or newer.

// In milliseconds:
const QUIET = 20_000;      // send a ping after this long without a message
const SILENCE = 25_000;    // take the connection for dead if nothing comes within this long after the ping
const LONGEST = 30_000;    // the longest wait between two attempts
const PATIENCE = 20_000;   // call `url` again if it has not answered within this long
// Close codes at which another attempt would fail again, besides 4000 to 4099.
const OVER = [1002, 1003, 1007, 1009];
// Close codes that say that a registration is gone, as after every restart of Relay: another URL may work.
const GONE = [4001, 4002, 4010, 4011];

// `url` is that of a WebSocket, or a function that returns one or a promise of one. The function is called before each
// attempt, so a page can register anew in it. If it fails, does not answer, or returns no URL, it is called again later.
// `from` is "earliest" for everything that is retained, or null for live messages only. The callbacks:
//   message({topic, id, time, data})      once for each message, in order
//   gap({topic, from, to, reason})        you may have missed messages: reload the state from its source
//   ended({topic, reason})                this topic has ended or, without a `topic`, everything has. Then, and when no
//                                         topic is left, there are no further attempts
//   failed(error)                         the function `url` has failed and is called again later
// Returns a function that stops it.
export function follow(url, topics, {message, gap, ended = console.error, failed = console.error, token, from = "earliest"}) {
    const last = Object.fromEntries(topics.map(topic => [topic, from]));
    const patterns = topics.map(topic => [topic, matcher(topic)]);
    let wait = 1000;
    // The registration of the last URL was gone. The next URL is the last one that is tried, unless a `synced` comes first.
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
        const late = new Promise((_, reject) => {
            timer = setTimeout(() => reject(new Error(`\`url\` has not answered within ${PATIENCE / 1000} s`)), PATIENCE);
        });
        const answer = Promise.race([late, new Promise(resolve => resolve(url()))]);
        const again = error => {
            retry();
            failed(error);
        };
        const use = found => {
            try {
                open(found);
            } catch (error) {
                // What was found is no URL, as when a proxy has answered. (A browser may take it for a path on the page's
                // own server.) Any other error would come again: there is no WebSocket, or an https page may not open `ws:`.
                if (error.name === "SyntaxError") again(error);
                else ended({reason: `${error}`});
            }
        };
        const unless = then => value => stopped || then(value);
        answer.finally(() => clearTimeout(timer)).then(unless(use), unless(again));
    }

    function open(found) {
        const socket = new WebSocket(found, "relay.v1");
        let silence, again, delay;
        // The URL of a registration is live before the subscribe is answered. Whatever arrives until then comes again after
        // the answer. It must not move `last`, because that is where the subscribe resumes from.
        let begun = false;
        const send = command => socket.send(JSON.stringify(command));
        // One command for all topics, so that one position covers all of them.
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
        // Measure the silence from when the ping is sent: browsers delay the timers of a hidden page, by up to a minute.
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
            // A registration may cover topics that are not followed here.
            unsubscribed: notice => notice.topic in last && drop(notice),
            goaway: ({reconnect_after_ms}) => { delay = reconnect_after_ms; },
            error: ({problem}) => {
                const {topic, detail, retry_after} = problem;
                if (retry_after) again = setTimeout(subscribe, 1000 * retry_after);
                else if (!topic) over(detail);
                else {
                    // All topics were refused because of this one, which an `unsubscribed` may already have ended.
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

// Whether an id comes after a position. Ids of two epochs cannot be compared: the id is then from a new log.
function isAfter(id, position) {
    const [epoch, seq] = id.split("-");
    const [before, until] = (position ?? "").split("-");
    return epoch !== before || Number(seq) > Number(until);
}

// `*` and `{name}` match one segment, a `**` at the end matches one or more.
function matcher(topic) {
    const segment = text => text === "**" ? ".+" : text === "*" || text.startsWith("{") ? "[^.]+" : text;
    return new RegExp(`^${topic.split(".").map(segment).join("\\.")}$`);
}
