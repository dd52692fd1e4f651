-- A ledger of version 0017 as it was written before a delivery's content was typed: three campaigns and two events,
-- planned from the files of test_older_ledgers.py and approved.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version VALUES('0017');
CREATE TABLE attempt (
	chunk_id BIGINT NOT NULL, 
	epoch INTEGER NOT NULL, 
	owner VARCHAR(120) NOT NULL, 
	started_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	outcome VARCHAR(12) NOT NULL, 
	code VARCHAR(64), 
	status SMALLINT, 
	trace VARCHAR(12), 
	problem TEXT, 
	raw BLOB, title TEXT, send_at DOUBLE, hold_minutes INTEGER, 
	CONSTRAINT pk_attempt PRIMARY KEY (chunk_id, epoch)
)
 WITHOUT ROWID

;
CREATE TABLE campaign (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	kind SMALLINT NOT NULL, 
	name VARCHAR(80) NOT NULL, 
	test BOOLEAN NOT NULL, 
	gateway VARCHAR(40) NOT NULL, 
	definition JSON NOT NULL, 
	options JSON NOT NULL, 
	rejects_file TEXT, 
	input INTEGER DEFAULT '0' NOT NULL, 
	invalid INTEGER DEFAULT '0' NOT NULL, 
	duplicate INTEGER DEFAULT '0' NOT NULL, 
	created_at DOUBLE NOT NULL, 
	planned_at DOUBLE, 
	run_started_at DOUBLE, 
	run_by TEXT, 
	run_ended_at DOUBLE, 
	stopped_because TEXT, 
	cancelled_at DOUBLE, erased_at DOUBLE, waiting_for VARCHAR(20), waiting_until DOUBLE, copies_sought_at DOUBLE, revision INTEGER DEFAULT '1' NOT NULL, list_hash VARCHAR(64), cleared_at DOUBLE, closed_at DOUBLE, goes_on_for VARCHAR(20), goes_on_at DOUBLE, open_wave INTEGER, halted_because TEXT, 
	CONSTRAINT uq_campaign_name_test UNIQUE (name, test)
);
INSERT INTO campaign VALUES(1,0,'dated',0,'serwersms','{"title": "Jesie\u0144 \ud83c\udf42", "text": "-30%", "media": ["sha256:15d46f87a17eecf926a0fed92adcfc214efa3d2d460e6d149a9db1cf60f1e56e", "https://example.com/map.png"], "send_at": "2099-11-30T08:00:00.250000+00:00", "hold_minutes": null, "test": false, "gateway": "serwersms"}','{"resend_unconfirmed": false, "approve": true, "verify": "listed", "reading": {"column": "phone", "warnings": ["send_at: Mon 2099-11-30 is 26,666 days ahead; is the year right?"]}}','/srv/shop/dated.rejects.csv',3,0,0,1795745842.3970713615,1795745842.4211020469,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,'a8acb163352edf260e1f411832bedd0ac82e61ff5731d1b7a94df5554d4104fe',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO campaign VALUES(2,0,'held',0,'serwersms','{"title": "Autumn sale", "text": "Za\u017c\u00f3\u0142\u0107", "media": ["sha256:15d46f87a17eecf926a0fed92adcfc214efa3d2d460e6d149a9db1cf60f1e56e"], "send_at": null, "hold_minutes": 15, "test": false}','{"resend_unconfirmed": false, "approve": true, "verify": "listed", "reading": {"column": "phone", "warnings": []}}','/srv/shop/held.rejects.csv',3,0,0,1795745842.4675414561,1795745842.501112461,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,'a8acb163352edf260e1f411832bedd0ac82e61ff5731d1b7a94df5554d4104fe',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO campaign VALUES(3,0,'plain',0,'serwersms','{"title": "Autumn sale", "text": "-30%", "media": [], "send_at": null, "hold_minutes": null, "test": false}','{"resend_unconfirmed": false, "approve": false, "verify": "listed", "reading": {"column": "phone", "warnings": ["media: there are none; the provider''s documentation does not say that it sends text alone"]}}','/srv/shop/plain.rejects.csv',3,0,0,1795745842.5534124374,1795745842.5823287963,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,'a8acb163352edf260e1f411832bedd0ac82e61ff5731d1b7a94df5554d4104fe',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO campaign VALUES(4,1,'gala',0,'skycore','{"mms_id": "4711", "from": "60300", "campaign_ref": "9", "barcode": "column", "ddm_title": "Hi", "ddm_text": "Your ticket", "ddm_timeout": 5, "device": null, "custom_subject": "For {first_name}", "custom_texts": {"1": "Hello {first_name}"}, "data": {"NAME": "first_name"}, "from_mask": null}','{"approve": true, "reading": {"column": "phone", "warnings": []}}','/srv/shop/gala.rejects.csv',2,0,0,1795745842.6536142825,1795745842.7417976856,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,'fe289ff632c0d8ecff72ae18f036146543b7b851a779e3c9c18cba81e40d625f',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO campaign VALUES(5,1,'jazz',0,'skycore','{"mms_id": "12", "from": "60300", "campaign_ref": null, "barcode": "column", "ddm_title": null, "ddm_text": null, "ddm_timeout": null, "device": null, "custom_subject": null, "custom_texts": {}, "data": {}, "from_mask": null}','{"approve": false, "reading": {"column": "phone", "warnings": []}}','/srv/shop/jazz.rejects.csv',2,0,0,1795745842.7714362144,1795745842.8402070999,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,'fe289ff632c0d8ecff72ae18f036146543b7b851a779e3c9c18cba81e40d625f',NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE identity (
	id INTEGER NOT NULL, 
	uuid VARCHAR(32) NOT NULL, 
	created_at DOUBLE NOT NULL, suppressions BIGINT DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_identity PRIMARY KEY (id)
);
INSERT INTO identity VALUES(1,'029a2540a0c64841a90eb2629cc690be',1795745842.3493475914,0);
CREATE TABLE message (
	chunk_id BIGINT NOT NULL, 
	position INTEGER NOT NULL, 
	campaign_id INTEGER NOT NULL, 
	phone BIGINT NOT NULL, 
	copy SMALLINT NOT NULL, 
	line INTEGER NOT NULL, 
	state SMALLINT NOT NULL, 
	provider_id VARCHAR(64), 
	error VARCHAR(64), 
	epoch INTEGER, 
	delivered_at DOUBLE, 
	CONSTRAINT pk_message PRIMARY KEY (chunk_id, position)
)
 WITHOUT ROWID

;
INSERT INTO message VALUES(1,0,1,48500000001,0,2,0,NULL,NULL,NULL,NULL);
INSERT INTO message VALUES(1,1,1,48500000002,0,3,0,NULL,NULL,NULL,NULL);
INSERT INTO message VALUES(1,2,1,48500000003,0,4,0,NULL,NULL,NULL,NULL);
INSERT INTO message VALUES(2,0,2,48500000001,0,2,0,NULL,NULL,NULL,NULL);
INSERT INTO message VALUES(2,1,2,48500000002,0,3,0,NULL,NULL,NULL,NULL);
INSERT INTO message VALUES(2,2,2,48500000003,0,4,0,NULL,NULL,NULL,NULL);
INSERT INTO message VALUES(3,0,3,48500000001,0,2,0,NULL,NULL,NULL,NULL);
INSERT INTO message VALUES(3,1,3,48500000002,0,3,0,NULL,NULL,NULL,NULL);
INSERT INTO message VALUES(3,2,3,48500000003,0,4,0,NULL,NULL,NULL,NULL);
INSERT INTO message VALUES(4,0,4,48500000001,0,2,0,NULL,NULL,NULL,NULL);
INSERT INTO message VALUES(5,0,4,48500000002,0,3,0,NULL,NULL,NULL,NULL);
INSERT INTO message VALUES(6,0,5,48500000001,0,2,0,NULL,NULL,NULL,NULL);
INSERT INTO message VALUES(7,0,5,48500000002,0,3,0,NULL,NULL,NULL,NULL);
CREATE TABLE parked_report (
	id INTEGER NOT NULL, 
	received_at DOUBLE NOT NULL, 
	provider_id VARCHAR(64) NOT NULL, 
	phone BIGINT, 
	mms_id VARCHAR(40), 
	state SMALLINT NOT NULL, 
	reason VARCHAR(64), delivered_at DOUBLE, gateway VARCHAR(40), happened_at DOUBLE, contradicts VARCHAR(40), 
	CONSTRAINT pk_parked_report PRIMARY KEY (id)
);
CREATE TABLE settlement (
	id INTEGER NOT NULL, 
	campaign_id INTEGER NOT NULL, 
	chunk_id BIGINT NOT NULL, 
	position INTEGER NOT NULL, 
	settled_at DOUBLE NOT NULL, 
	decision VARCHAR(20) NOT NULL, 
	state SMALLINT NOT NULL, 
	"by" TEXT NOT NULL, 
	evidence TEXT NOT NULL, replaced_id VARCHAR(64), 
	CONSTRAINT pk_settlement PRIMARY KEY (id)
);
CREATE TABLE stored_file (
	gateway VARCHAR(40) NOT NULL, 
	fingerprint TEXT NOT NULL, 
	file_id VARCHAR(64) NOT NULL, 
	stored_at DOUBLE NOT NULL, 
	CONSTRAINT pk_stored_file PRIMARY KEY (gateway, fingerprint)
);
CREATE TABLE ticket (
	chunk_id BIGINT NOT NULL, 
	position INTEGER NOT NULL, 
	campaign_id INTEGER NOT NULL, 
	barcode VARCHAR(64) NOT NULL, 
	fields JSON NOT NULL, listed_code VARCHAR(64), listed_phone BIGINT, 
	CONSTRAINT pk_ticket PRIMARY KEY (chunk_id, position), 
	CONSTRAINT uq_ticket_campaign_id_barcode UNIQUE (campaign_id, barcode)
)
 WITHOUT ROWID

;
INSERT INTO ticket VALUES(4,0,4,'A-1','{"phone":"+48500000001","barcode_id":"A-1","first_name":"Ann"}',NULL,NULL);
INSERT INTO ticket VALUES(5,0,4,'A-2','{"phone":"+48500000002","barcode_id":"A-2","first_name":"Bo"}',NULL,NULL);
INSERT INTO ticket VALUES(6,0,5,'A-1','{"phone":"+48500000001","barcode_id":"A-1","first_name":"Ann"}',NULL,NULL);
INSERT INTO ticket VALUES(7,0,5,'A-2','{"phone":"+48500000002","barcode_id":"A-2","first_name":"Bo"}',NULL,NULL);
CREATE TABLE chunk (
	id INTEGER NOT NULL, 
	campaign_id INTEGER NOT NULL, 
	state SMALLINT NOT NULL, 
	epoch INTEGER DEFAULT '0' NOT NULL, 
	owner VARCHAR(120), 
	claimed_at DOUBLE, 
	finished_at DOUBLE, 
	reported_at DOUBLE, 
	pending INTEGER DEFAULT '0' NOT NULL, 
	accepted INTEGER DEFAULT '0' NOT NULL, 
	scheduled INTEGER DEFAULT '0' NOT NULL, 
	rejected INTEGER DEFAULT '0' NOT NULL, 
	unknown INTEGER DEFAULT '0' NOT NULL, 
	delivered INTEGER DEFAULT '0' NOT NULL, 
	undelivered INTEGER DEFAULT '0' NOT NULL, 
	no_report INTEGER DEFAULT '0' NOT NULL, 
	cancelled INTEGER DEFAULT '0' NOT NULL, 
	suppressed INTEGER DEFAULT '0' NOT NULL, wave INTEGER DEFAULT '1' NOT NULL, 
	CONSTRAINT pk_chunk PRIMARY KEY (id), 
	CONSTRAINT fk_chunk_campaign_id FOREIGN KEY(campaign_id) REFERENCES campaign (id) ON DELETE CASCADE
);
INSERT INTO chunk VALUES(1,1,0,0,NULL,NULL,NULL,NULL,3,0,0,0,0,0,0,0,0,0,1);
INSERT INTO chunk VALUES(2,2,0,0,NULL,NULL,NULL,NULL,3,0,0,0,0,0,0,0,0,0,1);
INSERT INTO chunk VALUES(3,3,0,0,NULL,NULL,NULL,NULL,3,0,0,0,0,0,0,0,0,0,1);
INSERT INTO chunk VALUES(4,4,0,0,NULL,NULL,NULL,NULL,1,0,0,0,0,0,0,0,0,0,1);
INSERT INTO chunk VALUES(5,4,0,0,NULL,NULL,NULL,NULL,1,0,0,0,0,0,0,0,0,0,1);
INSERT INTO chunk VALUES(6,5,0,0,NULL,NULL,NULL,NULL,1,0,0,0,0,0,0,0,0,0,1);
INSERT INTO chunk VALUES(7,5,0,0,NULL,NULL,NULL,NULL,1,0,0,0,0,0,0,0,0,0,1);
CREATE TABLE media (
	campaign_id INTEGER NOT NULL, 
	position SMALLINT NOT NULL, 
	source TEXT NOT NULL, 
	name TEXT NOT NULL, 
	content_type VARCHAR(80) NOT NULL, 
	path TEXT, 
	sha256 VARCHAR(64), 
	size BIGINT, 
	file_id VARCHAR(64), 
	verified_at DOUBLE, refused TEXT, 
	CONSTRAINT pk_media PRIMARY KEY (campaign_id, position), 
	CONSTRAINT fk_media_campaign_id FOREIGN KEY(campaign_id) REFERENCES campaign (id) ON DELETE CASCADE
);
INSERT INTO media VALUES(1,0,'poster.png','poster.png','image/png','/srv/shop/poster.png','15d46f87a17eecf926a0fed92adcfc214efa3d2d460e6d149a9db1cf60f1e56e',77,NULL,NULL,NULL);
INSERT INTO media VALUES(1,1,'https://example.com/map.png','map.png','image/png',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO media VALUES(2,0,'poster.png','poster.png','image/png','/srv/shop/poster.png','15d46f87a17eecf926a0fed92adcfc214efa3d2d460e6d149a9db1cf60f1e56e',77,NULL,NULL,NULL);
CREATE TABLE approval (
	id INTEGER NOT NULL, 
	campaign_id INTEGER NOT NULL, 
	content VARCHAR(64) NOT NULL, 
	asked_at DOUBLE NOT NULL, 
	flow_run_id VARCHAR(36), 
	decided_at DOUBLE, 
	approved BOOLEAN, 
	"by" TEXT, 
	note TEXT, 
	CONSTRAINT pk_approval PRIMARY KEY (id), 
	CONSTRAINT fk_approval_campaign_id FOREIGN KEY(campaign_id) REFERENCES campaign (id) ON DELETE CASCADE
);
INSERT INTO approval VALUES(1,1,'a8403aeef4a599abb99aa3a7b236a28118ae59d03a69836eced8bc97502ecd6a',1795745842.8715600967,NULL,1795745842.8715600967,1,'ops','');
INSERT INTO approval VALUES(2,2,'d0727a84a4d3f16115b8623410ab500c411e97c694434eb630c068d403b2dac2',1795745842.9169106482,NULL,1795745842.9169106482,1,'ops','');
INSERT INTO approval VALUES(3,3,'810e3d9ef1bc3dd0a05909a96214e53d2571a92801a44bfdcc66490678892ec1',1795745842.9494562149,NULL,1795745842.9494562149,1,'ops','');
INSERT INTO approval VALUES(4,4,'8b7f1730f588c10541ec0585047eb67a0fe35f76a438c45c2620687b7f1be2b4',1795745843.0123963356,NULL,1795745843.0123963356,1,'ops','');
INSERT INTO approval VALUES(5,5,'04d49fa70cfb28ac78d1aeb7d964ea93236710d31c9ac05fe76b6595d2058cce',1795745843.0610542297,NULL,1795745843.0610542297,1,'ops','');
CREATE TABLE second_copy (
	provider_id VARCHAR(64) NOT NULL, 
	campaign_id INTEGER NOT NULL, 
	chunk_id BIGINT NOT NULL, 
	position INTEGER NOT NULL, 
	state SMALLINT NOT NULL, 
	found_at DOUBLE NOT NULL, 
	withdrawn_at DOUBLE, 
	evidence TEXT NOT NULL, 
	CONSTRAINT pk_second_copy PRIMARY KEY (provider_id)
);
CREATE TABLE wave (
	campaign_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	planned_at DOUBLE NOT NULL, 
	messages INTEGER NOT NULL, 
	CONSTRAINT pk_wave PRIMARY KEY (campaign_id, number), 
	CONSTRAINT fk_wave_campaign_id FOREIGN KEY(campaign_id) REFERENCES campaign (id) ON DELETE CASCADE
);
INSERT INTO wave VALUES(1,1,1795745842.4192550183,3);
INSERT INTO wave VALUES(2,1,1795745842.4963042736,3);
INSERT INTO wave VALUES(3,1,1795745842.5748431683,3);
INSERT INTO wave VALUES(4,1,1795745842.7394340037,2);
INSERT INTO wave VALUES(5,1,1795745842.8335864543,2);
CREATE TABLE taken_out (
	chunk_id BIGINT NOT NULL, 
	position INTEGER NOT NULL, 
	campaign_id INTEGER NOT NULL, 
	taken_at DOUBLE NOT NULL, 
	"by" TEXT NOT NULL, 
	why TEXT NOT NULL, 
	CONSTRAINT pk_taken_out PRIMARY KEY (chunk_id, position)
)
 WITHOUT ROWID

;
CREATE TABLE void_code (
	campaign_id INTEGER NOT NULL, 
	code VARCHAR(64) NOT NULL, 
	chunk_id BIGINT, 
	position INTEGER, 
	voided_at DOUBLE NOT NULL, 
	"by" TEXT NOT NULL, 
	why TEXT NOT NULL, 
	CONSTRAINT pk_void_code PRIMARY KEY (campaign_id, code)
);
CREATE TABLE erased_code (
	hash VARCHAR(32) NOT NULL, 
	campaign_id INTEGER NOT NULL, 
	CONSTRAINT pk_erased_code PRIMARY KEY (hash, campaign_id)
)
 WITHOUT ROWID

;
CREATE TABLE account_finding (
	gateway VARCHAR(40) NOT NULL, 
	account VARCHAR(64) NOT NULL, 
	subject VARCHAR(40) NOT NULL, 
	verdict VARCHAR(16) NOT NULL, 
	value TEXT NOT NULL, 
	seen TEXT NOT NULL, 
	found_at DOUBLE NOT NULL, 
	CONSTRAINT pk_account_finding PRIMARY KEY (gateway, account, subject)
);
CREATE TABLE suppression (
	phone BIGINT NOT NULL, 
	scope SMALLINT NOT NULL, 
	source VARCHAR(20) NOT NULL, 
	why TEXT NOT NULL, 
	"by" TEXT NOT NULL, 
	since DOUBLE NOT NULL, 
	removed_at DOUBLE, 
	removed_by TEXT, 
	removed_why TEXT, 
	number BIGINT NOT NULL, 
	CONSTRAINT pk_suppression PRIMARY KEY (phone, scope)
);
CREATE TABLE opt_out_pull (
	gateway VARCHAR(40) NOT NULL, 
	pulled_at DOUBLE NOT NULL, 
	CONSTRAINT pk_opt_out_pull PRIMARY KEY (gateway)
);
CREATE TABLE spending (
	scope VARCHAR(40) NOT NULL, 
	spent BIGINT NOT NULL, 
	CONSTRAINT pk_spending PRIMARY KEY (scope)
);
CREATE TABLE proof (
	id INTEGER NOT NULL, 
	kind SMALLINT NOT NULL, 
	name VARCHAR(80) NOT NULL, 
	gateway VARCHAR(40) NOT NULL, 
	phone BIGINT NOT NULL, 
	title TEXT, 
	mms_id VARCHAR(40), 
	code VARCHAR(64), 
	"by" TEXT NOT NULL, 
	owner VARCHAR(120) NOT NULL, 
	claimed_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	outcome VARCHAR(12) NOT NULL, 
	provider_id VARCHAR(64), 
	error VARCHAR(64), 
	problem TEXT, 
	CONSTRAINT pk_proof PRIMARY KEY (id)
);
CREATE TABLE absent (
	chunk_id BIGINT NOT NULL, 
	position INTEGER NOT NULL, 
	campaign_id INTEGER NOT NULL, 
	CONSTRAINT pk_absent PRIMARY KEY (chunk_id, position)
)
 WITHOUT ROWID

;
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('campaign',5);
CREATE INDEX ix_message_error ON message (campaign_id, error) WHERE error IS NOT NULL;
CREATE INDEX ix_message_without_id ON message (campaign_id, chunk_id, position) WHERE provider_id IS NULL AND state IN (1, 2);
CREATE UNIQUE INDEX uq_message_phone ON message (phone, campaign_id, copy);
CREATE UNIQUE INDEX uq_message_provider_id ON message (provider_id) WHERE provider_id IS NOT NULL;
CREATE INDEX ix_parked_report_provider_id ON parked_report (provider_id);
CREATE INDEX ix_settlement_message ON settlement (chunk_id, position);
CREATE INDEX ix_chunk_open ON chunk (campaign_id, id) WHERE state <> 2;
CREATE INDEX ix_approval_campaign_id ON approval (campaign_id);
CREATE VIEW v_error_codes AS SELECT c.name AS campaign, CASE c.kind WHEN 0 THEN 'campaign' ELSE 'event' END AS kind, c.test, c.gateway, m.error AS code, count(*) AS messages FROM campaign c JOIN message m ON m.campaign_id = c.id AND m.error IS NOT NULL WHERE c.planned_at IS NOT NULL GROUP BY c.id, m.error;
CREATE VIEW v_hourly AS SELECT strftime('%Y-%m-%dT%H:%M:%SZ', u.hour * 3600, 'unixepoch') AS hour, c.name AS campaign, CASE c.kind WHEN 0 THEN 'campaign' ELSE 'event' END AS kind, c.test, c.gateway, sum(u.requests) AS requests, coalesce(sum(u.requests) FILTER (WHERE u.outcome = 'sending'), 0) AS sending, coalesce(sum(u.requests) FILTER (WHERE u.outcome = 'answered'), 0) AS answered, coalesce(sum(u.requests) FILTER (WHERE u.outcome = 'not_taken'), 0) AS not_taken, coalesce(sum(u.requests) FILTER (WHERE u.outcome = 'unknown'), 0) AS unknown, coalesce(sum(u.requests) FILTER (WHERE u.outcome = 'abandoned'), 0) AS abandoned, coalesce(sum(u.requests) FILTER (WHERE u.outcome = 'late'), 0) AS late, sum(u.accepted) AS messages_accepted FROM (SELECT CAST(a.started_at / 3600 AS INTEGER) AS hour, k.campaign_id, a.outcome, 1 AS requests, 0 AS accepted FROM attempt a JOIN chunk k ON k.id = a.chunk_id UNION ALL SELECT CAST(finished_at / 3600 AS INTEGER), campaign_id, NULL, 0, accepted + scheduled + delivered + undelivered + no_report FROM chunk WHERE finished_at IS NOT NULL) u JOIN campaign c ON c.id = u.campaign_id GROUP BY u.hour, c.id;
CREATE INDEX ix_settlement_replaced_id ON settlement (replaced_id) WHERE replaced_id IS NOT NULL;
CREATE INDEX ix_second_copy_campaign_id ON second_copy (campaign_id);
CREATE INDEX ix_chunk_campaign_id ON chunk (campaign_id, id);
CREATE INDEX ix_suppression_number ON suppression (number);
CREATE VIEW v_campaign_totals AS SELECT c.name AS campaign, CASE c.kind WHEN 0 THEN 'campaign' ELSE 'event' END AS kind, c.test, c.gateway, CASE WHEN c.run_started_at IS NOT NULL AND c.run_ended_at IS NULL THEN 'running' WHEN c.cancelled_at IS NOT NULL THEN 'cancelled' WHEN coalesce(sum(k.pending), 0) > 0 AND c.goes_on_at IS NOT NULL AND c.stopped_because IS NULL THEN 'waiting' WHEN coalesce(sum(k.pending), 0) > 0 AND c.halted_because IS NOT NULL THEN 'needs_attention' WHEN coalesce(sum(k.pending), 0) > 0 THEN 'stopped' WHEN coalesce(sum(k.unknown), 0) + coalesce(sum(k.rejected), 0) > 0 THEN 'needs_attention' ELSE 'finished' END AS state, c.stopped_because, c.input, c.invalid, c.duplicate, coalesce(sum(k.pending) FILTER (WHERE k.state <> 1), 0) AS pending, coalesce(sum(k.pending) FILTER (WHERE k.state = 1), 0) AS sending, coalesce(sum(k.suppressed), 0) AS suppressed, coalesce(sum(k.accepted), 0) AS accepted, coalesce(sum(k.scheduled), 0) AS scheduled, coalesce(sum(k.delivered), 0) AS delivered, coalesce(sum(k.undelivered), 0) AS undelivered, coalesce(sum(k.no_report), 0) AS no_report, coalesce(sum(k.rejected), 0) AS rejected, coalesce(sum(k.unknown), 0) AS unknown, coalesce(sum(k.cancelled), 0) AS cancelled, c.invalid + c.duplicate + coalesce(sum(k.pending) FILTER (WHERE k.state <> 1), 0) + coalesce(sum(k.pending) FILTER (WHERE k.state = 1), 0) + coalesce(sum(k.suppressed), 0) + coalesce(sum(k.accepted), 0) + coalesce(sum(k.scheduled), 0) + coalesce(sum(k.delivered), 0) + coalesce(sum(k.undelivered), 0) + coalesce(sum(k.no_report), 0) + coalesce(sum(k.rejected), 0) + coalesce(sum(k.unknown), 0) + coalesce(sum(k.cancelled), 0) = c.input AS balanced, strftime('%Y-%m-%dT%H:%M:%SZ', c.created_at, 'unixepoch') AS created_at, strftime('%Y-%m-%dT%H:%M:%SZ', c.planned_at, 'unixepoch') AS planned_at, strftime('%Y-%m-%dT%H:%M:%SZ', c.run_started_at, 'unixepoch') AS run_started_at, strftime('%Y-%m-%dT%H:%M:%SZ', c.run_ended_at, 'unixepoch') AS run_ended_at, strftime('%Y-%m-%dT%H:%M:%SZ', c.cancelled_at, 'unixepoch') AS cancelled_at FROM campaign c LEFT JOIN chunk k ON k.campaign_id = c.id WHERE c.planned_at IS NOT NULL GROUP BY c.id;
CREATE INDEX ix_proof_name ON proof (name);
CREATE INDEX ix_proof_phone ON proof (phone);
CREATE INDEX ix_proof_provider_id ON proof (provider_id);
COMMIT;
