// What the pages of the console do: WebAuthn ceremonies (WebAuthn Level 3 section 5) and the calls around them. The server
// decides; what this file decides is only that nothing is signed but the statement which the page shows.

const find = (selector) => document.querySelector(selector);
const { page, payment } = document.body.dataset;

/** An ending that is told to the person in its own words. */
class Refusal extends Error {}

// -- Words --------------------------------------------------------------------------------------------------------------

/** A text of the server with its controls and invisible characters named, as the pages name them. */
const visible = (text) => String(text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) =>
  'U+' + character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0'));

function say(text) {
  find('#progress').textContent = visible(text);
}

/** Says how it ended, to whoever uses a screen reader too: what had the focus may be gone. */
function conclude(text) {
  say(text);
  find('#progress').focus();
}

// -- Calls --------------------------------------------------------------------------------------------------------------

/** Posts JSON and gives the JSON of the answer; a problem (RFC 9457) becomes a refusal in the server's words. */
async function call(path, body, token) {
  const headers = { 'content-type': 'application/json', accept: 'application/json, application/problem+json' };
  if (token) headers.authorization = `Bearer ${token}`;
  let response, text;
  try {
    response = await fetch(path, {
      method: 'POST', headers, body: JSON.stringify(body), credentials: 'same-origin', redirect: 'error', cache: 'no-store',
    });
    text = await response.text();
  } catch {
    throw new Refusal('The server did not answer. Reload the page to see what it has recorded.');
  }
  let answer = {};
  try {
    if (text !== '') answer = JSON.parse(text);
  } catch {
    throw new Refusal(`The server answered ${response.status} with something that is no JSON.`);
  }
  if (response.ok) return answer;
  const { detail = `The server answered ${response.status}.`, code = 'unknown', request_id = 'unknown' } = answer ?? {};
  throw new Refusal(`${detail} (${code}, request ${request_id})`);
}

// -- Ceremonies ---------------------------------------------------------------------------------------------------------

const endings = {
  NotAllowedError: 'The key was not used: the request was cancelled or took too long. Nothing was sent; try again.',
  InvalidStateError: 'This key is enrolled already. Use another one.',
  SecurityError: 'The browser refuses keys on this page: its address does not belong to this deployment.',
  NotSupportedError: 'This key makes no credential of the kind that is needed. Use another one.',
  ConstraintError: 'This key cannot verify its user. Set a PIN for it, or use another one.',
};

/** Runs `navigator.credentials.create` or `.get` on options in JSON and gives the response in JSON (section 5.1). */
async function ceremony(kind, json) {
  try {
    const credential = await navigator.credentials[kind]({ publicKey: optionsFromJSON(kind, json) });
    return credential.toJSON ? credential.toJSON() : credentialToJSON(credential);
  } catch (error) {
    throw new Refusal(endings[error.name] ?? `The key was not used: ${error.message}`);
  }
}

function optionsFromJSON(kind, json) {
  const native = kind === 'create' ? 'parseCreationOptionsFromJSON' : 'parseRequestOptionsFromJSON';
  if (PublicKeyCredential[native]) return PublicKeyCredential[native](json);
  const withBytes = (list) => list?.map((one) => ({ ...one, id: decoded(one.id) }));
  const options = { ...json, challenge: decoded(json.challenge) };
  if (json.user) options.user = { ...json.user, id: decoded(json.user.id) };
  if (json.excludeCredentials) options.excludeCredentials = withBytes(json.excludeCredentials);
  if (json.allowCredentials) options.allowCredentials = withBytes(json.allowCredentials);
  return options;
}

/** For browsers without `toJSON`: the members that both kinds of response have (section 5.1, `RegistrationResponseJSON`). */
function credentialToJSON(credential) {
  const { id, rawId, type, authenticatorAttachment, response } = credential;
  const json = { clientDataJSON: encoded(response.clientDataJSON) };
  if (response.attestationObject) {
    json.attestationObject = encoded(response.attestationObject);
    json.authenticatorData = encoded(response.getAuthenticatorData());
    json.transports = response.getTransports();
    json.publicKeyAlgorithm = response.getPublicKeyAlgorithm();
    if (response.getPublicKey()) json.publicKey = encoded(response.getPublicKey());
  } else {
    json.authenticatorData = encoded(response.authenticatorData);
    json.signature = encoded(response.signature);
    if (response.userHandle) json.userHandle = encoded(response.userHandle);
  }
  const clientExtensionResults = credential.getClientExtensionResults();
  return { id, rawId: encoded(rawId), type, authenticatorAttachment, clientExtensionResults, response: json };
}

const decoded = (text) =>
  Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (character) => character.charCodeAt(0));
const encoded = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

/** Runs what a button starts, with all buttons disabled and every refusal told. */
async function during(work) {
  const buttons = document.querySelectorAll('button');
  const focused = document.activeElement;
  find('#failure').textContent = '';
  for (const button of buttons) button.disabled = true;
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Refusal)) console.error(error);
    say('');
    find('#failure').textContent = visible(error.message);
  } finally {
    for (const button of buttons) button.disabled = false;
    // A disabled button loses the focus; whoever works by keyboard goes on where they were.
    if (document.activeElement === document.body && focused.isConnected) focused.focus();
  }
}

// -- The pages ----------------------------------------------------------------------------------------------------------

const pages = {
  'sign-in': () => {
    find('#sign-in').addEventListener('click', () => during(async () => {
      say('Use your key to sign in.');
      const assertion = await ceremony('get', await call('/v1/sessions/options', {}));
      await call('/v1/sessions', assertion);
      location.reload();
    }));
  },

  'enrol': () => {
    const field = find('#invitation');
    const button = find('#enrol button');
    const made = {};
    let token, options;

    const next = (step, label, current, message) => {
      now = step;
      button.textContent = label;
      for (const item of document.querySelectorAll('.steps li')) {
        item.toggleAttribute('data-done', Object.hasOwn(made, item.id === 'step-approval' ? 'approval' : 'sign_in'));
        if (item.id === current) item.setAttribute('aria-current', 'step');
        else item.removeAttribute('aria-current');
      }
      say(message);
    };
    const begin = async () => {
      token = field.value.trim();
      // Anything else is no value of a header field, and fetch would call that a failure of the network.
      if (!/^[\x21-\x7e]+$/.test(token)) throw new Refusal('This is no invitation. Copy it once more, without blanks.');
      options = await call('/v1/enrolments/options', {}, token);
      field.readOnly = true;
      next(makeApproval, 'Make the credential to approve', 'step-approval',
        `Welcome, ${options.name}. First the credential that signs your decisions about payments.`);
    };
    const makeApproval = async () => {
      made.approval = await ceremony('create', options.approval);
      next(makeSignIn, 'Make the credential to sign in', 'step-sign-in',
        'The credential to approve is made. Now the one that opens this console.');
    };
    const makeSignIn = async () => {
      made.sign_in = await ceremony('create', options.sign_in);
      next(makeSignIn, button.textContent, null, 'Sending both to the server.');
      try {
        const { leaf_index } = await call('/v1/enrolments', made, token);
        find('#enrol').remove();
        find('#enrolled').hidden = false;
        conclude(`You are enrolled${recorded(leaf_index)}.`);
      } catch (error) {
        // The server's challenges are used up, so both credentials are made anew.
        delete made.approval;
        delete made.sign_in;
        field.readOnly = false;
        next(begin, 'Begin again', null, '');
        throw error;
      }
    };
    let now = begin;

    // The token leaves the address bar and the history, and stays on the page alone.
    const take = () => {
      if (location.hash.length < 2) return;
      if (now === begin) field.value = location.hash.slice(1);
      history.replaceState(null, '', location.pathname);
    };
    take();
    addEventListener('hashchange', take);
    find('#enrol').addEventListener('submit', (event) => {
      event.preventDefault();
      during(() => now());
    });
  },

  'approval': () => {
    for (const button of document.querySelectorAll('#decision button')) {
      button.addEventListener('click', () => during(() => decide(button.value)));
    }
  },
};

async function decide(decision) {
  const path = `/v1/approvals/${encodeURIComponent(payment)}`;
  say('Fetching what is to be signed.');
  const { approval, options, statement } = await call(`${path}/challenge`, { decision });
  if (statement !== shown(find('#statement')) || approval?.decision !== decision) {
    find('#decision').remove();
    throw new Refusal('What is to be signed differs from this page, so nothing was signed. Reload the page and read again.');
  }
  say(`Use your key to ${decision}.`);
  const assertion = await ceremony('get', options);
  const { leaf_index, result } = await call(`${path}/decisions`, { approval, assertion });
  find('#decision').remove();
  find('#state').textContent = visible(result.state);
  find('#approvals').textContent = `${result.approvals_given} of ${result.approvals_needed}`;
  conclude(`${decision === 'approve' ? 'Approved' : 'Declined'}${recorded(leaf_index)}.`);
}

const recorded = (leaf) => (Number.isSafeInteger(leaf) ? `, and on the record as leaf ${leaf}` : '');

/** The text that an element shows: its letters, and the characters that stand on it by name. */
function shown(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.data;
  if (node.localName !== 'mark') return Array.from(node.childNodes, shown).join('');
  return String.fromCodePoint(Number.parseInt(node.textContent.slice(2), 16));
}

for (const time of document.querySelectorAll('time')) {
  const local = new Date(time.dateTime);
  const words = local.toLocaleString('en', { weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  if (local.getTimezoneOffset() !== 0) time.append(` (${words} here)`);
}
find('#sign-out')?.addEventListener('click', () => during(async () => {
  await call('/v1/sessions/end', {});
  location.assign('/console');
}));
if (page in pages && !window.PublicKeyCredential) {
  find('#failure').textContent = 'This browser has no WebAuthn. Open the page in a browser that has.';
} else {
  pages[page]?.();
  for (const button of document.querySelectorAll('button')) button.disabled = false;
}
