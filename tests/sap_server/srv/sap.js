// What SAP does on its own: draws numbers, derives names, makes a customer of a partner in a customer role, keeps ETags new,
// refuses what its customizing keeps unique. Everything else is the CAP runtime's.
const cds = require('@sap/cds');

const VALID = '9999-12-31T23:59:59.000Z';
const numbers = { partner: 1000000, address: 20000, version: 0 };
const version = () => `${Date.now()}-${++numbers.version}`;
const today = () => ({ LastChangeDate: new Date().toISOString().slice(0, 10), LastChangeTime: new Date().toISOString().slice(11, 19) });
const asked = (one, name) => one[name] ?? [];
const CUSTOMER_ROLES = ['FLCU00', 'FLCU01'];

const compositions = new Map(); // entity -> [[name, target]]: CAP works them out anew each time they are asked for

function versioned(entity, data) {
  if (!data || typeof data !== 'object') return;
  if (!compositions.has(entity)) {
    compositions.set(entity, Object.entries(entity.compositions ?? {}).map(([name, element]) => [name, element._target]));
  }
  if (entity.elements.ETag) data.ETag = version();
  for (const [name, target] of compositions.get(entity)) {
    if (data[name]) for (const child of [data[name]].flat()) versioned(target, child);
  }
}

function renew(req, next) {
  versioned(req.target, req.data);
  return next();
}

// As SAP answers: a change with 204 and nothing, a create with what was made; neither is read once more
async function renewAndTell(req, next) {
  await renew(req, next);
  req._.readAfterWrite = false;
  return req.event === 'CREATE' ? req.data : null;
}

function contacts(list, address, type) {
  list.forEach((one, index) => {
    one.AddressID ??= address;
    one.Person ??= '';
    one.OrdinalNumber ??= String(index + 1);
    if (type) one.PhoneNumberType ??= type;
    derive(one);
  });
}

function derive(contact) {
  if (contact.EmailAddress !== undefined) contact.SearchEmailAddress = contact.EmailAddress?.slice(0, 20).toUpperCase();
  if (contact.PhoneNumber) contact.InternationalPhoneNumber = `+82${contact.PhoneNumber.replace(/\D/g, '').replace(/^0/, '')}`;
}

function address(one, partner, first) {
  one.BusinessPartner = partner;
  one.AddressID ??= String(++numbers.address);
  one.to_AddressUsage ??= [{ AddressUsage: first ? 'XXDEFAULT' : 'SHIP_TO' }];
  for (const usage of one.to_AddressUsage) Object.assign(usage, { BusinessPartner: partner, AddressID: one.AddressID, ValidityEndDate: VALID });
  contacts(asked(one, 'to_PhoneNumber'), one.AddressID, '1');
  contacts(asked(one, 'to_MobilePhoneNumber'), one.AddressID, '3');
  contacts(asked(one, 'to_EmailAddress'), one.AddressID);
  const mobiles = asked(one, 'to_MobilePhoneNumber'); // one table, one sequence of ordinals
  mobiles.forEach((mobile, index) => { mobile.OrdinalNumber = String(asked(one, 'to_PhoneNumber').length + index + 1); });
}

function name(data, there = {}) {
  if (data.LastName === undefined && data.FirstName === undefined) return;
  const whole = { ...there, ...data };
  data.BusinessPartnerFullName = data.BusinessPartnerName = [whole.FirstName, whole.LastName].filter(Boolean).join(' ');
}

class API_BUSINESS_PARTNER extends cds.ApplicationService {
  init() {
    const E = this.entities;

    this.before('CREATE', E.A_BusinessPartner, async (req) => {
      const { data } = req;
      if (data.BusinessPartnerCategory === '1' && !data.LastName) return req.reject({ status: 400, code: 'R11/124', message: 'Enter a last name' });
      for (const one of asked(data, 'to_BuPaIdentification')) await this.unique(req, one);
      const number = (data.BusinessPartner ||= String(++numbers.partner));
      asked(data, 'to_BusinessPartnerAddress').forEach((one, index) => address(one, number, index === 0));
      if (data.to_Customer || asked(data, 'to_BusinessPartnerRole').some((one) => CUSTOMER_ROLES.includes(one.BusinessPartnerRole))) {
        data.to_Customer = { ...data.to_Customer, Customer: number };
        data.Customer = number;
      }
      Object.assign(data, today());
      name(data);
    });

    this.before('UPDATE', E.A_BusinessPartner, async (req) => {
      Object.assign(req.data, today());
      if (req.data.LastName !== undefined || req.data.FirstName !== undefined) {
        name(req.data, await SELECT.one.from(E.A_BusinessPartner, req.data.BusinessPartner).columns('FirstName', 'LastName'));
      }
    });

    this.before('CREATE', E.A_BusinessPartnerAddress, async (req) => {
      const others = await SELECT.one.from(E.A_BusinessPartnerAddress).where({ BusinessPartner: req.data.BusinessPartner });
      address(req.data, req.data.BusinessPartner, !others);
    });

    for (const entity of [E.A_AddressPhoneNumber, E.A_AddressEmailAddress]) {
      this.before('CREATE', entity, async (req) => {
        const there = await SELECT.from(entity).columns('OrdinalNumber').where({ AddressID: req.data.AddressID });
        req.data.Person ??= '';
        req.data.OrdinalNumber ??= String(Math.max(0, ...there.map((one) => Number(one.OrdinalNumber))) + 1);
        derive(req.data);
      });
      this.before('UPDATE', entity, (req) => derive(req.data));
      this.after(['CREATE', 'UPDATE', 'DELETE'], entity, (_, req) => this.touch(req.params.at(-1)?.AddressID ?? req.data.AddressID));
    }
    this.after(['CREATE', 'UPDATE'], E.A_BusinessPartnerAddress, (_, req) => this.touch(req.data.AddressID));

    this.before('CREATE', E.A_BuPaIdentification, (req) => this.unique(req, req.data));

    this.after('CREATE', E.A_BusinessPartnerRole, async (_, req) => {
      const { BusinessPartner, BusinessPartnerRole } = req.data;
      if (!CUSTOMER_ROLES.includes(BusinessPartnerRole)) return;
      await UPSERT.into(E.A_Customer).entries({ Customer: BusinessPartner, ETag: version() }); // two roles may come in one change set
      await UPDATE(E.A_BusinessPartner, BusinessPartner).with({ Customer: BusinessPartner, ...today() });
    });

    this.on(['CREATE', 'UPDATE'], '*', renewAndTell); // after all that is done `before`
    return super.init();
  }

  // ZMRN: an identification type whose numbers customizing keeps unique
  async unique(req, { BPIdentificationType, BPIdentificationNumber }) {
    if (BPIdentificationType !== 'ZMRN') return;
    const there = 'SELECT 1 FROM API_BUSINESS_PARTNER_A_BuPaIdentification WHERE BPIdentificationType = ? AND BPIdentificationNumber = ?';
    if ((await cds.run(there, [BPIdentificationType, BPIdentificationNumber])).length) {
      req.reject({ status: 400, code: 'R11/401', message: `Identification number ${BPIdentificationNumber} exists already` });
    }
  }

  // A changed address or phone is a change of its partner, as SAP's change date sees it
  async touch(AddressID) {
    if (!AddressID) return;
    const partner = 'SELECT BusinessPartner FROM API_BUSINESS_PARTNER_A_BusinessPartnerAddress WHERE AddressID = ?';
    const { LastChangeDate, LastChangeTime } = today();
    const sql = `UPDATE API_BUSINESS_PARTNER_A_BusinessPartner SET LastChangeDate = ?, LastChangeTime = ? WHERE BusinessPartner = (${partner})`;
    await cds.run(sql, [LastChangeDate, LastChangeTime, AddressID]);
  }
}

// What is looked for by something else than the beginning of its key
const INDEXES = [
  'CREATE INDEX numbers ON API_BUSINESS_PARTNER_A_BuPaIdentification (BPIdentificationType, BPIdentificationNumber)',
  'CREATE INDEX addresses ON API_BUSINESS_PARTNER_A_BusinessPartnerAddress (AddressID)',
];
cds.on('served', async () => { for (const sql of INDEXES) await cds.run(sql); });

class Documents extends cds.ApplicationService {
  init() {
    this.on(['CREATE', 'UPDATE'], '*', renew); // after all that is done `before`
    return super.init();
  }
}

module.exports = { API_BUSINESS_PARTNER, API_BILLING_DOCUMENT_SRV: Documents, API_OPLACCTGDOCITEMCUBE_SRV: Documents };
