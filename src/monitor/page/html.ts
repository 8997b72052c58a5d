/** The page's markup: everything that is always there. What changes is filled in by browser/. */
export const pageHtml = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>walferry</title>
<link rel="icon" href="/assets/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/assets/uplot.css">
<link rel="stylesheet" href="/assets/page.css">
<script src="/assets/uplot.js" defer></script>
<script src="/assets/browser/main.js" type="module"></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="top">
  <div class="brand"><img src="/assets/icon.svg" alt="" width="28" height="28"><span>walferry</span></div>
  <div class="route" aria-label="From source to target">
    <span id="source" class="side"></span><span class="arrow" aria-hidden="true">→</span><span id="target" class="side"></span>
  </div>
  <div class="controls">
    <span id="link" class="link" data-link="wait" role="status">connecting</span>
    <button id="theme" type="button" class="quiet" aria-label="Auto: colours as the system has them">Auto</button>
  </div>
</header>
<main id="main">
  <noscript><p class="warning">This page needs JavaScript. <code>walferry list progress --summary</code> shows the same in a terminal.</p></noscript>
  <section class="card hero" aria-labelledby="headline" data-state="unknown" id="hero">
    <div class="big" aria-hidden="true"><span id="big-value" class="value">–</span><span id="big-unit" class="unit"></span></div>
    <div class="about">
      <p class="state"><span class="dot" aria-hidden="true"></span><span id="state">waiting</span></p>
      <h1 id="headline">Waiting for the run</h1>
      <p id="meta" class="meta"></p>
    </div>
    <progress id="progress" class="whole" max="100" value="0" aria-label="Progress" hidden></progress>
  </section>
  <p id="announce" class="hidden" aria-live="polite"></p>
  <ul id="warnings" class="warnings" role="alert"></ul>
  <section class="card" aria-labelledby="phases-title">
    <h2 id="phases-title" class="hidden">Phases</h2>
    <ol id="phases" class="phases"></ol>
  </section>
  <div class="grid">
    <section class="card wide" aria-labelledby="chart-title">
      <div class="title">
        <h2 id="chart-title">Lag</h2>
        <div class="switch" role="group" aria-label="What the chart shows" id="chart-switch">
          <button type="button" data-chart="seconds" aria-pressed="true">Seconds</button>
          <button type="button" data-chart="bytes" aria-pressed="false">Bytes</button>
        </div>
      </div>
      <div id="chart" class="chart" role="img" aria-label="No data yet"></div>
    </section>
    <section class="card" aria-labelledby="positions-title" id="positions-card">
      <h2 id="positions-title">Positions</h2>
      <div class="scroll">
        <table class="figures">
          <thead><tr><th scope="col">Position</th><th scope="col">LSN</th><th scope="col" class="number">Behind</th><th scope="col" class="number">Time</th></tr></thead>
          <tbody id="positions"></tbody>
        </table>
      </div>
      <dl id="rates" class="facts"></dl>
    </section>
    <section class="card" aria-labelledby="slot-title" id="slot-card">
      <h2 id="slot-title">Replication slot</h2>
      <progress id="slot-room" class="whole" max="100" value="0" aria-label="Share of the WAL limit that is used" hidden></progress>
      <dl id="slot" class="facts"></dl>
    </section>
    <section class="card wide" aria-labelledby="tables-title" id="tables-card">
      <div class="title">
        <h2 id="tables-title">Tables</h2>
        <label class="filter"><span class="hidden">Filter tables</span><input id="filter" type="search" placeholder="Filter" autocomplete="off" spellcheck="false"></label>
      </div>
      <p id="tables-summary" class="meta"></p>
      <div class="scroll tall" tabindex="0" role="region" aria-label="List of tables">
        <table class="tables" id="tables-list" data-parts="none">
          <thead><tr><th scope="col">Table</th><th scope="col">Rows copied</th><th scope="col" class="number">Size</th><th scope="col" class="number parts">Parts</th><th scope="col" class="number">Indexes</th></tr></thead>
          <tbody id="tables"></tbody>
        </table>
      </div>
    </section>
    <section class="card" aria-labelledby="steer-title" id="steer-card">
      <h2 id="steer-title">Steer</h2>
      <form id="unlock" class="unlock">
        <p>This page only shows. With the token of the run it can also set things: it is in the file <code>token</code> of the work directory, or in <code>WALFERRY_TOKEN</code>.</p>
        <div class="row">
          <label class="grow"><span class="hidden">Token</span><input id="token" type="password" placeholder="Token" autocomplete="off" required></label>
          <button type="submit">Unlock</button>
        </div>
        <p id="unlock-error" class="error" role="alert"></p>
      </form>
      <div id="steering" class="steering" hidden>
        <div class="action">
          <div><strong>Applying</strong><p id="apply-about" class="meta"></p></div>
          <button type="button" id="apply">Pause</button>
        </div>
        <div class="action">
          <div><strong>End position</strong><p id="endpos-about" class="meta"></p></div>
          <button type="button" id="endpos">End here</button>
        </div>
        <p id="steer-result" class="meta" role="status"></p>
        <button type="button" id="lock" class="quiet">Forget the token</button>
      </div>
    </section>
    <section class="card" aria-labelledby="log-title" id="log-card">
      <h2 id="log-title">Log</h2>
      <div class="scroll tall log" tabindex="0" role="region" aria-label="Lines of the log"><ol id="log"></ol></div>
    </section>
  </div>
</main>
<footer><span id="directory"></span></footer>
<dialog id="confirm" aria-labelledby="confirm-title">
  <form method="dialog">
    <h2 id="confirm-title"></h2>
    <p id="confirm-text"></p>
    <div class="row end">
      <button value="no" class="quiet" autofocus>Cancel</button>
      <button value="yes" id="confirm-yes"></button>
    </div>
  </form>
</dialog>
</body>
</html>
`;
